import {execa} from 'execa'
import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {type Result} from '../../src/run/results.js'
import {BIN, copyOfCase, eventually, processesOn, scratch, verdicts} from '../support/patchbench.js'

const MINUTES = 60_000

type Turn = {turn: number; changed: string[]; changes: string[]; error: string | null; results: Result[]; sessions: {variants: string[]; seconds: {total: number}}[]}

test('watch: right, wrong, right again is fixed, not-fixed, fixed, and base runs once', {timeout: 10 * MINUTES}, async () => {
  const cases = await copyOfCase('ipmr-loopback')
  const file = join(cases, '../livepatch/ipmr-loopback/livepatch-ipmr-loopback.c')
  const right = await readFile(file, 'utf8')
  const wrong = right.replace('dst.input = ip_local_deliver', 'dst.input = new_rt->dst.input')
  expect(wrong).not.toBe(right)
  const output = await scratch()
  const child = execa('node', [BIN, 'watch', 'ipmr-loopback', '--cases', cases, '--variant', 'livepatched', '--json', '--output', output], {reject: false, stdin: 'ignore', buffer: false})
  const turns: Turn[] = []
  const reading = (async () => {
    for await (const line of child.iterable({from: 'stdout'})) turns.push(JSON.parse(line) as Turn)
  })()
  const turn = async (number: number) => expect(await eventually(() => turns.length === number, 180), `turn ${number}`).toBe(true)
  await turn(1)
  await writeFile(file, wrong)
  await turn(2)
  // A save in the middle: what was begun is given up, and has no verdict.
  await writeFile(file, `${wrong}/* once more */\n`)
  await new Promise((resolve) => setTimeout(resolve, 500))
  await writeFile(file, right)
  await turn(3)
  child.kill('SIGINT')
  expect((await child).exitCode).toBe(130)
  await reading
  expect(turns.map(({results}) => verdicts(results).livepatched)).toEqual(['fixed', 'not-fixed', 'fixed'])
  expect(turns[1]!.changes[0]).toMatch(/livepatched, local-input: fixed -> not-fixed$/)
  expect(turns[1]!.changes.join()).toMatch(/hairpin-one-copy: passed -> failed \(TTL 4,3,2,1 on the wire, expected 4\)/)
  // The very session of the first turn: base has not been run again.
  const base = ({sessions}: Turn) => sessions.find(({variants}) => variants.includes('base'))
  expect(turns.slice(1).map(base)).toEqual([base(turns[0]!), base(turns[0]!)])
  expect(await processesOn(cases)).toEqual([])
})
