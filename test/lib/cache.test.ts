import {execa} from 'execa'
import {appendFile, mkdir, readdir, readFile, rm, stat, truncate, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {artefact, type Artefact, cacheDirectory, forget, keptArtefacts} from '../../src/lib/cache.js'
import {CouldNotRun, Interrupted} from '../../src/lib/errors.js'
import {sha256} from '../../src/lib/hash.js'
import {contextIn, scratch, until} from '../support/scratch.js'

const INPUTS = {source: 'abc'}

/** Makes an artefact of two files, and counts how often. */
function maker() {
  const made = {times: 0, make: async (cache: string): Promise<Artefact> => await artefact(contextIn(cache), 'thing', 'key', INPUTS, write)}
  async function write(into: string): Promise<void> {
    made.times += 1
    await writeFile(join(into, 'one'), 'first')
    await mkdir(join(into, 'sub'))
    await writeFile(join(into, 'sub/two'), 'second')
  }
  return made
}

async function entries(cache: string): Promise<string[]> {
  return (await readdir(join(cache, 'thing')).catch(() => [])).filter((name) => !name.endsWith('.lock'))
}

describe('an artefact', () => {
  it('is made once and taken from the cache then', async () => {
    const cache = await scratch()
    const thing = maker()
    const made = await thing.make(cache)
    expect(made).toEqual({directory: join(cache, 'thing/key'), files: {one: sha256('first'), 'sub/two': sha256('second')}})
    expect(await thing.make(cache)).toEqual(made)
    expect(thing.times).toBe(1)
    expect(await entries(cache)).toEqual(['key'])
  })

  it('keeps what its key was made of', async () => {
    const cache = await scratch()
    await maker().make(cache)
    expect(JSON.parse(await readFile(join(cache, 'thing/key/manifest.json'), 'utf8'))).toMatchObject({inputs: INPUTS})
  })

  it('is made once when four want it at the same time', async () => {
    const cache = await scratch()
    const thing = maker()
    const made = await Promise.all([1, 2, 3, 4].map(async () => await thing.make(cache)))
    expect(thing.times).toBe(1)
    expect(new Set(made.map(({directory}) => directory)).size).toBe(1)
  })

  it('is made once when four processes want it at the same time', async () => {
    const folder = await scratch()
    const script = await child(folder, `await new Promise((resolve) => setTimeout(resolve, 200)); writeFileSync(join(into, 'one'), 'first')`)
    const children = await Promise.all([1, 2, 3, 4].map(async () => await execa(process.execPath, [script])))
    for (const {stdout} of children) expect(JSON.parse(stdout)).toEqual({one: sha256('first')})
    expect((await readFile(join(folder, 'made'), 'utf8')).length).toBe(1)
    expect(await entries(join(folder, 'cache'))).toEqual(['key'])
  })

  it.each<[string, (file: string) => Promise<void>]>([
    ['was tampered with', async (file) => await writeFile(file, 'fIrst')],
    ['was tampered with and given its old time', tamperQuietly],
    ['was truncated', async (file) => await truncate(file, 2)],
    ['was emptied', async (file) => await truncate(file, 0)],
    ['was appended to', async (file) => await appendFile(file, 'x')],
    ['is gone', async (file) => await rm(file)],
  ])('whose file %s is made anew, with a word about it', async (_, damage) => {
    const cache = await scratch()
    const thing = maker()
    const {directory, files} = await thing.make(cache)
    await damage(join(directory, 'one'))
    const context = contextIn(cache)
    const again = await artefact(context, 'thing', 'key', INPUTS, async (into) => {
      await writeFile(join(into, 'one'), 'first')
      await mkdir(join(into, 'sub'))
      await writeFile(join(into, 'sub/two'), 'second')
    })
    expect(context.said).toEqual(['a cached thing was damaged and is made anew'])
    expect(again.files).toEqual(files)
    expect(await readFile(join(directory, 'one'), 'utf8')).toBe('first')
  })

  it.each(['', '{"inputs": 1', 'null'])('whose manifest is %j is made anew', async (text) => {
    const cache = await scratch()
    const thing = maker()
    const {directory} = await thing.make(cache)
    await writeFile(join(directory, 'manifest.json'), text)
    await thing.make(cache)
    expect(thing.times).toBe(2)
  })

  it('whose manifest lists nothing is made anew', async () => {
    const cache = await scratch()
    const thing = maker()
    const {directory} = await thing.make(cache)
    await writeFile(join(directory, 'manifest.json'), '{}')
    await thing.make(cache)
    expect(thing.times).toBe(2)
  })

  it('is not made anew when its files were only touched', async () => {
    const cache = await scratch()
    const thing = maker()
    const {directory} = await thing.make(cache)
    await utimes(join(directory, 'one'), new Date(), new Date(0))
    await thing.make(cache)
    expect(thing.times).toBe(1)
  })

  it('that is forgotten is made anew', async () => {
    const cache = await scratch()
    const thing = maker()
    await thing.make(cache)
    await forget(contextIn(cache), 'thing', 'key')
    expect(await entries(cache)).toEqual([])
    await thing.make(cache)
    expect(thing.times).toBe(2)
  })
})

async function tamperQuietly(file: string): Promise<void> {
  const {atime, mtime} = await stat(file)
  await writeFile(file, 'fIrst')
  await utimes(file, atime, mtime)
}

describe('a failure', () => {
  it('leaves nothing, and the next one makes it', async () => {
    const cache = await scratch()
    const failing = artefact(contextIn(cache), 'thing', 'key', INPUTS, async (into) => {
      await writeFile(join(into, 'one'), 'half')
      throw new CouldNotRun('no compiler')
    })
    await expect(failing).rejects.toThrow(new CouldNotRun('no compiler'))
    expect(await entries(cache)).toEqual([])
    const thing = maker()
    await thing.make(cache)
    expect(thing.times).toBe(1)
  })

  it('of a full disk says what to do', async () => {
    const cache = await scratch()
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {code: 'ENOSPC'})
    const failing = artefact(contextIn(cache), 'thing', 'key', INPUTS, async () => await Promise.reject(full))
    await expect(failing).rejects.toThrow(`the disk that holds ${cache} is full: free some space or set PATCHBENCH_CACHE to a larger disk`)
    await expect(failing).rejects.toBeInstanceOf(CouldNotRun)
  })

  it('by interruption makes nothing', async () => {
    const cache = await scratch()
    const stopped = artefact(contextIn(cache, AbortSignal.abort(new Interrupted())), 'thing', 'key', INPUTS, async () => await Promise.resolve())
    await expect(stopped).rejects.toBeInstanceOf(Interrupted)
    expect(await entries(cache)).toEqual([])
  })

  it('by kill -9 in the middle leaves nothing that is taken for whole', async () => {
    const folder = await scratch()
    const script = await child(
      folder,
      `writeFileSync(join(into, 'one'), process.env.HANG ? 'half' : 'first')
       if (process.env.HANG) await new Promise((resolve) => setTimeout(resolve, 300_000))`,
    )
    const killed = execa(process.execPath, [script], {reject: false, env: {HANG: '1'}})
    const half = join(folder, 'cache/thing/key.partial/one')
    expect(await until(async () => (await readFile(half, 'utf8').catch(() => '')) === 'half')).toBe(true)
    killed.kill('SIGKILL')
    expect((await killed).signal).toBe('SIGKILL')
    expect(await entries(join(folder, 'cache'))).toEqual(['key.partial'])

    const {stdout} = await execa(process.execPath, [script])
    expect(JSON.parse(stdout)).toEqual({one: sha256('first')})
    expect((await readFile(join(folder, 'made'), 'utf8')).length).toBe(2)
    expect(await entries(join(folder, 'cache'))).toEqual(['key'])
  })
})

/** A script that makes an artefact in a process of its own; `made` grows by a byte each time it is really made. */
async function child(folder: string, body: string): Promise<string> {
  const script = join(folder, 'make.mjs')
  const library = new URL('../../dist/lib/cache.js', import.meta.url).href
  await writeFile(
    script,
    `import {appendFileSync, writeFileSync} from 'node:fs'
     import {join} from 'node:path'
     import {artefact} from '${library}'
     const context = {signal: new AbortController().signal, cache: '${join(folder, 'cache')}', progress: () => {}}
     const {files} = await artefact(context, 'thing', 'key', {}, async (into) => {
       appendFileSync('${join(folder, 'made')}', 'x')
       ${body}
     })
     console.log(JSON.stringify(files))`,
  )
  return script
}

describe('the cache', () => {
  it.each([
    [{PATCHBENCH_CACHE: '/a', XDG_CACHE_HOME: '/b'}, '/a'],
    [{XDG_CACHE_HOME: '/b'}, '/b/patchbench'],
  ])('of %j is %s', (env, folder) => {
    expect(cacheDirectory(env)).toBe(folder)
  })

  it('is in the home folder else', () => {
    expect(cacheDirectory({})).toMatch(/\/\.cache\/patchbench$/)
  })
})

describe('what is kept', () => {
  it('is listed with its kind, its size on the disk and when it was last of use', async () => {
    const cache = await scratch()
    const sparse = async () => await artefact(contextIn(cache), 'thing', 'key', INPUTS, async (into) => {
      await writeFile(join(into, 'image'), 'first')
      await truncate(join(into, 'image'), 1 << 26)
    })
    const {directory} = await sparse()
    await mkdir(join(cache, 'lists/partial'), {recursive: true})
    const old = new Date('2020-01-01')
    await utimes(join(directory, 'manifest.json'), old, old)
    const [one, ...others] = await keptArtefacts(contextIn(cache))
    expect(one).toMatchObject({kind: 'thing', key: 'key', used: old})
    expect(one!.bytes).toBeGreaterThan(0)
    expect(one!.bytes).toBeLessThan(1 << 20)
    expect(others).toEqual([])
    const before = Date.now()
    await sparse()
    const [again] = await keptArtefacts(contextIn(cache))
    expect(again!.used.getTime()).toBeGreaterThanOrEqual(before - 1000)
  })
})
