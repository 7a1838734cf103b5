import {mkdir, rename, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, expect, it} from 'vitest'
import {follower, type Follower} from '../../src/lib/follow.js'
import {Interrupted} from '../../src/lib/errors.js'
import {scratch} from '../support/scratch.js'

const open: Follower[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.close()
})

function following(...folders: string[]): Follower {
  const one = follower()
  one.follow(folders)
  open.push(one)
  return one
}

const forever = new AbortController().signal
const soon = () => AbortSignal.timeout(300)

it('a save ends the wait, however the editor saves', async () => {
  const folder = await scratch()
  const folders = following(folder)
  const file = join(folder, 'a.c')
  await writeFile(file, 'one')
  await folders.change(forever)
  await writeFile(`${file}~`, 'two')
  await rename(`${file}~`, file)
  await folders.change(forever)
  await rm(file)
  await folders.change(forever)
  await expect(folders.change(soon())).rejects.toThrow()
})

it('a burst of saves is one change, of which the begin is told', async () => {
  const folder = await scratch()
  const folders = following(folder)
  const before = Date.now()
  for (let number = 0; number < 20; number++) await writeFile(join(folder, `${number}`), '')
  const after = Date.now()
  const since = await folders.change(forever)
  expect(since).toBeGreaterThanOrEqual(before)
  expect(since).toBeLessThanOrEqual(after + 1000)
  await expect(folders.change(soon())).rejects.toThrow()
})

it('a change before the wait is not lost', async () => {
  const folder = await scratch()
  const folders = following(folder)
  await writeFile(join(folder, 'a.c'), '')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await folders.change(soon())
})

it('a folder that is made anew is followed again', async () => {
  const home = await scratch()
  const folder = join(home, 'series')
  await mkdir(folder)
  const folders = following(home, folder)
  await mkdir(`${folder}.new`)
  await rename(folder, `${folder}.old`)
  await rename(`${folder}.new`, folder)
  await folders.change(forever)
  folders.follow([home, folder])
  await folders.change(soon()).catch(() => {})
  await writeFile(join(folder, 'a.patch'), '')
  await folders.change(forever)
})

it('what is no longer named is not followed', async () => {
  const [one, two] = [await scratch(), await scratch()]
  const folders = following(one, two, join(one, 'nowhere'))
  folders.follow([two])
  await writeFile(join(one, 'a.c'), '')
  await expect(folders.change(soon())).rejects.toThrow()
})

it('an interruption ends the wait', async () => {
  const stop = new AbortController()
  const waiting = following(await scratch()).change(stop.signal)
  stop.abort(new Interrupted())
  await expect(waiting).rejects.toThrow(Interrupted)
  await expect(following().change(stop.signal)).rejects.toThrow(Interrupted)
})
