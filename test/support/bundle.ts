import {execa} from 'execa'
import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {Header} from 'tar'
import {type Content} from '../../src/bundle/evidence.js'
import {type Manifest, MANIFEST, TOP} from '../../src/bundle/manifest.js'
import {loadCase} from '../../src/case/case.js'
import {type Kernel} from '../../src/kernel/kernel.js'
import {sha256} from '../../src/lib/hash.js'
import {type Context} from '../../src/lib/context.js'
import {comparisonJson} from '../../src/report/json.js'
import {recordInputs, recordRun, type RunRecord} from '../../src/run/record.js'
import {FIXTURES} from './patchbench.js'
import {resultWith} from './results.js'
import {contextIn, scratch} from './scratch.js'

export const RUN: RunRecord = {
  ...{schema: 1, date: '2026-11-20T09:00:00.000Z', patchbench: {version: '0.1.0', revision: 'c0ffee'}, command: 'patchbench compare one'},
  ...{accelerator: 'tcg', tools: ['QEMU emulator version 7.2', 'gcc (Debian 12.2.0) 12.2.0'], repeats: 1, traced: false, firewall4: null, ownRoot: false},
  cases: [{name: 'one', title: 'one copy too many', parameters: {}, livepatches: ['input'], candidates: [], fromPatch: false}],
  kernels: [{label: 'debian 6.12.90', line: '6.12', version: '6.12.90', release: '6.12.90+deb12-amd64', kind: 'packaged', origin: {image: '6.12.90-1 sha256:00ff'}, tree: null, debug: []}],
  targets: [{case: 'one', kernel: 'debian 6.12.90', variants: ['base', 'livepatched']}],
  files: {'vm/agent.py': 'a'.repeat(64)},
}

/** Some files of a bundle, and its manifest. */
export function bundleOf(files: Record<string, string>, change: (manifest: Manifest) => unknown = () => {}): {manifest: string; contents: Content[]} {
  const contents = Object.entries(files).map(([path, text]) => ({path, data: Buffer.from(text)}))
  const entries = contents.map(({path, data}) => [path, {sha256: sha256(data), size: data.length}] as const)
  const row = resultWith({})
  const manifest: Manifest = {schema: 1, patchbench: {version: '0.1.0'}, run: RUN, results: [{...row, evidence: 'evidence'} as unknown as Manifest['results'][number]], modules: {}, trees: {}, files: Object.fromEntries(entries)}
  change(manifest)
  return {manifest: JSON.stringify(manifest), contents}
}

export type TarEntry = {path: string; data?: Buffer | string; type?: 'File' | 'SymbolicLink' | 'Link' | 'Directory' | 'CharacterDevice' | 'FIFO'; linkpath?: string; mode?: number; /** What the header says, where that is not so. */ size?: number}

/** An archive as somebody might make it who does not use our program. */
export async function archiveOf(entries: readonly TarEntry[]): Promise<string> {
  const blocks = entries.flatMap(({path, data = '', type = 'File', linkpath, mode = 0o644, size}) => {
    const body = Buffer.from(data)
    const header = new Header({path, type, mode, uid: 0, gid: 0, size: size ?? body.length, mtime: new Date(0), ...(linkpath === undefined ? {} : {linkpath})})
    const block = Buffer.alloc(512)
    header.encode(block)
    return [block, body, Buffer.alloc((512 - (body.length % 512)) % 512)]
  })
  return await compressed(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

export async function compressed(data: Buffer): Promise<string> {
  const folder = await scratch()
  await writeFile(join(folder, 'bundle.tar'), data)
  await execa('zstd', ['-q', '-1', join(folder, 'bundle.tar')])
  return join(folder, 'bundle.tar.zst')
}

/** The entries of a well-made bundle. */
export function entriesOf({manifest, contents}: {manifest: string; contents: readonly Content[]}): TarEntry[] {
  return [{path: `${TOP}/${MANIFEST}`, data: manifest}, ...contents.map(({path, data}) => ({path: `${TOP}/${path}`, data}))]
}

const ABOUT = {date: '2026-11-20T09:00:00.000Z', patchbench: {version: '0.1.0', revision: 'c0ffee'}, accelerator: 'tcg', tools: ['QEMU emulator version 7.2', 'gcc 12']} as const

/** The folder of a run of the fixture `shown`, as compare leaves it, without a machine. */
export async function storedRun({folder, command, reasons = [], log = 'all is well\n'}: {folder?: string; command?: string; reasons?: string[]; log?: string} = {}): Promise<{folder: string; context: Context}> {
  const place = folder ?? (await scratch())
  const context = contextIn(join(await scratch(), 'cache'))
  const one = await loadCase('shown', FIXTURES)
  const kernel = {label: 'debian 6.12.90', line: '6.12', release: '6.12.90+deb12-amd64', key: 'key', origin: {image: '6.12.90-1'}} as unknown as Kernel
  const targets = [{one, kernel, variants: ['base'] as const}]
  await recordInputs(place, targets)
  const evidence = join(place, 'shown/debian-6.12.90')
  await mkdir(join(evidence, 'base-1/base'), {recursive: true})
  await writeFile(join(evidence, 'base-1/base/ktap'), 'KTAP version 1\n1..1\nnot ok 1 symptom\n')
  await writeFile(join(evidence, 'base-1/base/kernel.log'), log)
  const comparison = {results: [resultWith({case: 'shown', evidence, reasons})], pairs: [], leftOut: []}
  const about = {...ABOUT, tools: [...ABOUT.tools], command: command ?? 'patchbench compare shown'}
  await writeFile(join(place, 'results.json'), comparisonJson(comparison, {folder: place, exit: 0, date: about.date, command: about.command, accelerator: 'tcg'}))
  await writeFile(join(place, 'report.md'), `# patchbench\n\n    ${about.command}\n`)
  await recordRun(context, {targets, repeats: 1, jobs: 1, trace: false, keepGoing: true, accelerator: 'tcg', folder: place}, about, comparison)
  return {folder: place, context}
}
