import {readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {remembered} from '../../src/lib/memory.js'
import {contextIn, scratch} from '../support/scratch.js'

const DAY = 24 * 3600 * 1000

it('asks once in a week, or when it is told to', async () => {
  const context = contextIn(await scratch())
  let asked = 0
  const ask = async () => ({times: (asked += 1)})
  const answer = async (anew = false) => (await remembered(context, 'room/name', anew, ask)).times
  expect([await answer(), await answer(), await answer(true), await answer()]).toEqual([1, 1, 2, 2])
  const file = join(context.cache, 'room/name.json')
  const kept = JSON.parse(await readFile(file, 'utf8')) as {at: number}
  await writeFile(file, JSON.stringify({...kept, at: Date.now() - 6 * DAY}))
  expect(await answer()).toBe(2)
  await writeFile(file, JSON.stringify({...kept, at: Date.now() - 8 * DAY}))
  expect(await answer()).toBe(3)
  expect(await readdir(join(context.cache, 'room'))).toEqual(['name.json'])
})

it.each(['', 'no JSON', '{}', '{"at": 9e15}', 'null'])('takes %j for no answer', async (text) => {
  const context = contextIn(await scratch())
  await writeFile(join(context.cache, 'name.json'), text)
  expect(await remembered(context, 'name', false, async () => 'asked')).toBe('asked')
})
