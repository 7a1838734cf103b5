import {mkdir, readFile, rename, rm, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from 'vitest'
import {readEvidence, readRun, runsFolder} from '../../src/run/folder.js'
import {resultWith} from '../support/results.js'
import {PLACE, runFolderWith} from '../support/run.js'
import {scratch} from '../support/scratch.js'

const state = process.env.XDG_STATE_HOME
beforeEach(async () => void (process.env.XDG_STATE_HOME = await scratch()))
afterEach(() => {
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
})

async function changed(change: (document: Record<string, unknown>) => void): Promise<string> {
  const folder = await runFolderWith()
  const document = JSON.parse(await readFile(join(folder, 'results.json'), 'utf8')) as Record<string, unknown>
  change(document)
  await writeFile(join(folder, 'results.json'), JSON.stringify(document))
  return folder
}

describe('a run', () => {
  it('is read with its evidence where it is now', async () => {
    const folder = await runFolderWith()
    const run = await readRun(folder)
    expect(run.results.map(({evidence}) => evidence)).toEqual(Array(3).fill(join(folder, PLACE)))
    expect(run.about).toMatchObject({date: '2026-11-20T06:00:00.000Z', command: 'patchbench compare one', exit: 0})
  })

  it('is found by its name, or is the last one', async () => {
    await mkdir(runsFolder(), {recursive: true})
    await rename(await runFolderWith(), join(runsFolder(), 'mine'))
    await symlink(join(runsFolder(), 'mine'), join(runsFolder(), 'latest'))
    expect((await readRun('mine')).folder).toBe(join(runsFolder(), 'mine'))
    expect((await readRun()).results).toHaveLength(3)
  })

  it('that is not there is a sentence', async () => {
    await expect(readRun()).rejects.toThrow(/^there is no run in .*: name the folder that compare left$/)
    await mkdir(join(runsFolder(), 'mine'), {recursive: true})
    await expect(readRun('other')).rejects.toThrow(/^there is no run other: name the folder that compare left, or one of .*, like mine$/)
    await expect(readRun('mine')).rejects.toThrow(/holds no results\.json/)
  })

  it('of an older version, or that was changed, is a sentence or is read', async () => {
    expect((await readRun(await changed(({run}) => void delete (run as Record<string, unknown>).date))).about.date).toBeUndefined()
    await expect(readRun(await changed((document) => (document.schema = 2)))).rejects.toThrow(/results\.json: schema: .*; it is of another version, or was changed$/)
    await expect(readRun(await changed(({results}) => ((results as {verdict: string}[])[0]!.verdict = 'well')))).rejects.toThrow(/results\.json: results\.0\.verdict: /)
    const folder = await runFolderWith()
    await writeFile(join(folder, 'results.json'), '{"schema"')
    await expect(readRun(folder)).rejects.toThrow(/is no JSON/)
  })

  it('has no evidence outside, by path or by link', async () => {
    await expect(readRun(await runFolderWith({results: [resultWith({evidence: '/elsewhere/../etc'})]}))).rejects.toThrow(/is not in the run's folder/)
    const folder = await runFolderWith()
    await rm(join(folder, PLACE), {recursive: true})
    await symlink('/etc', join(folder, PLACE))
    await expect(readRun(folder)).rejects.toThrow(/is not in the run's folder/)
  })

  it('has no ruleset outside either', async () => {
    const folder = await changed(({pairs}) => ((pairs as {rulesets: unknown[]}[])[0]!.rulesets = [{name: 'base', files: {nft: '/etc/passwd'}, sha256: {}}]))
    await expect(readRun(folder)).rejects.toThrow(/passwd is not in the run's folder/)
  })

  it('has printable texts', async () => {
    const folder = await runFolderWith({results: [resultWith({reasons: ['\u001b[31mred\u001b[0m\u0008']})]})
    expect((await readRun(folder)).results[0]!.reasons).toEqual(['red\ufffd'])
  })
})

it('evidence is plain files, and the start of large ones', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'file'), 'four')
  await symlink('/etc/hostname', join(folder, 'link'))
  expect(await readEvidence(join(folder, 'file'), 2)).toEqual({bytes: Buffer.from('fo'), whole: false})
  expect(await readEvidence(join(folder, 'file'), 4)).toMatchObject({whole: true})
  expect(await readEvidence(join(folder, 'link'), 4)).toBeUndefined()
  expect(await readEvidence(folder, 4)).toBeUndefined()
})
