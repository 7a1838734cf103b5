import {readFile, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, expect, it} from 'vitest'
import {caseFiles} from '../../src/author/casefiles.js'
import {writeCase} from '../../src/author/newcase.js'
import {type Turn, watchCase} from '../../src/author/watch.js'
import {loadCase} from '../../src/case/case.js'
import {type Context} from '../../src/lib/context.js'
import {CouldNotRun, InputError, Interrupted} from '../../src/lib/errors.js'
import {contextIn, scratch, until} from '../support/scratch.js'

const stops: AbortController[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort(new Interrupted())
})

type Watching = {file: (name: string) => string; turns: Turn[]; cancelled: string[][]; ended: Promise<unknown>; stop: AbortController; running: () => number}

/** Watches a new case with a comparison that the test makes. */
async function watching(compare: (context: Context, count: number) => Promise<void>): Promise<Watching> {
  const cases = await scratch()
  await writeCase({cases}, 'mine', await caseFiles('mine', {title: 'a bug', tree: 'linux', kernels: ['6.12']}))
  const [stop, turns, cancelled]: [AbortController, Turn[], string[][]] = [new AbortController(), [], []]
  stops.push(stop)
  let [count, running] = [0, 0]
  const ended = watchCase(contextIn(await scratch(), stop.signal), {
    file: join(cases, 'mine/case.yaml'),
    load: async () => await loadCase('mine', cases),
    compare: async (context) => {
      running += 1
      try {
        await compare(context, (count += 1))
      } finally {
        running -= 1
      }
      return {results: [], pairs: [], leftOut: []}
    },
    onTurn: (turn) => void turns.push(turn),
    onCancel: (changed) => void cancelled.push([...changed]),
  }).catch((error: unknown) => error)
  return {file: (name) => join(cases, 'mine', name), turns, cancelled, ended, stop, running: () => running}
}

async function change(file: string): Promise<void> {
  await writeFile(file, `${await readFile(file, 'utf8')}# more\n`)
}

/** Does not end before it is aborted. */
async function hang({signal}: Context): Promise<void> {
  await new Promise((_, reject) => signal.addEventListener('abort', () => setTimeout(() => reject(signal.reason as Error), 50)))
}

it('a save is one more comparison, with the name of what was saved', async () => {
  const {file, turns} = await watching(async () => {})
  expect(await until(() => turns.length === 1)).toBe(true)
  await change(file('reproduce'))
  expect(await until(() => turns.length === 2)).toBe(true)
  await change(file('case.yaml'))
  expect(await until(() => turns.length === 3)).toBe(true)
  expect(turns.map(({number, changed}) => [number, changed])).toEqual([[1, []], [2, ['mine/reproduce']], [3, ['mine/case.yaml']]])
})

it('what does not change a file begins nothing, nor does a file that the case does not hang on', async () => {
  const {file, turns} = await watching(async () => {})
  await until(() => turns.length === 1)
  await utimes(file('reproduce'), 1, 1)
  await writeFile(file('reproduce'), await readFile(file('reproduce'), 'utf8'))
  await writeFile(file('notes.txt'), 'mine')
  expect(await until(() => turns.length > 1, 600)).toBe(false)
})

it('a save in the middle ends the comparison, and the next one has all that was changed', async () => {
  const {file, turns, cancelled, running} = await watching(async (context, count) => (count === 2 ? await hang(context) : undefined))
  await until(() => turns.length === 1)
  await change(file('reproduce'))
  expect(await until(() => running() === 1)).toBe(true)
  await change(file('case.yaml'))
  expect(await until(() => turns.length === 2)).toBe(true)
  expect(cancelled).toEqual([['mine/case.yaml']])
  expect(turns[1]).toMatchObject({number: 2, changed: ['mine/reproduce', 'mine/case.yaml']})
  expect(running()).toBe(0)
})

it('a case that cannot be read is said, again when it is wrong otherwise, and is compared when it can', async () => {
  const {file, turns} = await watching(async () => {})
  await until(() => turns.length === 1)
  const text = await readFile(file('case.yaml'), 'utf8')
  const wrongs = [text.replace('tree: linux', 'tree: bsd'), text.replace('schema: 1', 'schema: 2'), text]
  for (const [index, wrong] of wrongs.entries()) {
    await writeFile(file('case.yaml'), wrong)
    expect(await until(() => turns.length === index + 2)).toBe(true)
  }
  expect(turns[1]!.error).toMatch(/case\.yaml:3: tree: .*found 'bsd'/)
  expect(turns[2]!.error).toMatch(/case\.yaml:1: schema: /)
  expect(turns[3]).toMatchObject({comparison: {results: []}})
})

it('what cannot be compared is said, and waits for the next save', async () => {
  const errors = [undefined, new InputError('it has no candidate'), new CouldNotRun('it does not build', 'a.c:1: error')]
  const {file, turns} = await watching(async (_, count) => {
    const error = errors[count - 1]
    if (error) await Promise.reject(error)
  })
  for (let count = 1; count <= 3; count++) {
    expect(await until(() => turns.length === count)).toBe(true)
    await change(file('reproduce'))
  }
  expect(turns.slice(1, 3).map(({error}) => error)).toEqual(['it has no candidate', 'it does not build\na.c:1: error'])
  expect(await until(() => turns.length === 4)).toBe(true)
})

it('a bug of ours is none of the user: it ends the loop', async () => {
  const {ended} = await watching(async () => await Promise.reject(new TypeError('ours')))
  expect(await ended).toBeInstanceOf(TypeError)
})

it.each([1, 2])('an interruption ends it, in the middle of a comparison as well (%s)', async (when) => {
  const {turns, ended, stop, running} = await watching(async (context, count) => (count === when ? await hang(context) : undefined))
  await until(() => (when === 1 ? running() === 1 : turns.length === 1))
  stop.abort(new Interrupted())
  expect(await ended).toBeInstanceOf(Interrupted)
  expect(running()).toBe(0)
})
