import {copyFile, mkdir, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {comparisonJson} from '../../src/report/json.js'
import {type RunFacts} from '../../src/report/markdown.js'
import {type PairRecord} from '../../src/run/compare.js'
import {type Result} from '../../src/run/results.js'
import {FIXED, RECORD} from './results.js'
import {projectPath} from '../../src/lib/project.js'
import {scratch} from './scratch.js'

export const FACTS: Omit<RunFacts, 'folder'> = {
  date: '2026-11-20T06:00:00.000Z',
  version: '0.1.0',
  revision: 'abc1234',
  command: 'patchbench compare one',
  accelerator: 'tcg',
  why: 'asked for',
  tools: ['QEMU emulator version 7.2'],
}

type Content = {results?: Result[]; pairs?: PairRecord[]; facts?: Partial<RunFacts>; files?: Record<string, string>; captures?: Record<string, string>}

/** The folder of the evidence below a run's. */
export const PLACE = 'one/debian-6.12.90'

/**
 * A run's folder as compare leaves it.
 *
 * @param files texts by their place in the evidence
 * @param captures names in test/fixtures/captures by place
 */
export async function runFolderWith({results = FIXED, pairs = [RECORD], facts = {}, files = {}, captures = {}}: Content = {}): Promise<string> {
  const folder = await scratch()
  const moved = results.map((result) => ({...result, evidence: result.evidence === '/nowhere' ? join('/elsewhere', PLACE) : result.evidence}))
  await mkdir(join(folder, PLACE), {recursive: true})
  await writeFile(join(folder, 'results.json'), comparisonJson({results: moved, pairs, leftOut: []}, {...FACTS, folder: '/elsewhere', exit: 0, ...facts}))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, PLACE, path)), {recursive: true})
    await writeFile(join(folder, PLACE, path), text)
  }
  for (const [path, name] of Object.entries(captures)) {
    await mkdir(dirname(join(folder, PLACE, path)), {recursive: true})
    await copyFile(capture(name), join(folder, PLACE, path))
  }
  return folder
}

/** A capture of a real run, cut to some packets. */
export function capture(name: string): string {
  return projectPath('test/fixtures/captures', `${name}.pcap`)
}

/** The folders of the three sessions of FIXED. */
export const BASE = 'base-1/base'
export const LIVE = 'input-livepatched+reverted-1/livepatched'
export const BACK = 'input-livepatched+reverted-1/reverted'
