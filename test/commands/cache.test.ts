import {mkdir, readdir, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {beforeEach, describe, expect, it} from 'vitest'
import {cacheCommand, cleanCommand} from '../../src/commands/cache.js'
import {artefact} from '../../src/lib/cache.js'
import {contextIn, scratch} from '../support/scratch.js'

const MIB = 1 << 20
let cache: string

/** An artefact that was last wanted some days ago. */
async function kept(kind: string, key: string, days: number, size = MIB): Promise<void> {
  const {directory} = await artefact(contextIn(cache), kind, key, {}, async (into) => await writeFile(join(into, 'file'), Buffer.alloc(size, 1)))
  const then = new Date(Date.now() - days * 86_400_000)
  await utimes(join(directory, 'manifest.json'), then, then)
}

async function left(): Promise<string[]> {
  const names = await Promise.all(['built', 'snapshot'].map(async (kind) => await readdir(join(cache, kind))))
  return names.flat().filter((name) => !name.endsWith('.lock')).sort()
}

beforeEach(async () => {
  cache = await scratch()
  await kept('snapshot', 'old', 8)
  await kept('snapshot', 'new', 1)
  await kept('built', 'ancient', 30, 3 * MIB)
})

describe('cache', () => {
  it('shows what each kind takes', async () => {
    const {text} = await cacheCommand(contextIn(cache), {})
    expect(text).toMatch(/^snapshot +2 +3 MiB +\d{4}-/m)
    expect(text).toMatch(/^built +1 +4 MiB /m)
  })

  it('loses what was not used for so many days, and nothing else', async () => {
    const {text} = await cleanCommand(contextIn(cache), {unused: 7})
    expect(text).toMatch(/^deleted 2 of 3 artefacts, 5 MiB: not used for 7 days$/)
    expect(await left()).toEqual(['new'])
  })

  it('loses one kind only where one is named', async () => {
    await cleanCommand(contextIn(cache), {unused: 0, kind: 'snapshot'})
    expect(await left()).toEqual(['ancient'])
  })

  it('loses nothing in a dry run', async () => {
    const {text} = await cleanCommand(contextIn(cache), {unused: 7, dryRun: true, json: true})
    expect(JSON.parse(text)).toMatchObject({schema: 1, dryRun: true, artefacts: [{kind: 'built'}, {kind: 'snapshot'}]})
    expect(await left()).toEqual(['ancient', 'new', 'old'])
  })

  it('loses what a kill left half made', async () => {
    const half = join(cache, 'snapshot', 'half.partial')
    await mkdir(half)
    const then = new Date(Date.now() - 8 * 86_400_000)
    await utimes(half, then, then)
    await cleanCommand(contextIn(cache), {unused: 7})
    expect(await left()).toEqual(['new'])
  })

  it('has no such kind', async () => {
    await expect(cleanCommand(contextIn(cache), {unused: 0, kind: 'snapshots'})).rejects.toThrow("the cache has no 'snapshots'")
  })
})
