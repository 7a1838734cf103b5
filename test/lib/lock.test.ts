import {execa} from 'execa'
import {readFile, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {CouldNotRun, Interrupted} from '../../src/lib/errors.js'
import {withLock} from '../../src/lib/lock.js'
import {scratch, until} from '../support/scratch.js'

const signal = new AbortController().signal

/** A script that takes a lock in a process of its own, says so in a file and holds it. */
async function holder(folder: string, lock: string): Promise<{kill: () => Promise<void>}> {
  const script = join(folder, 'holder.mjs')
  const library = new URL('../../dist/lib/lock.js', import.meta.url).href
  await writeFile(
    script,
    `import {writeFileSync} from 'node:fs'
     import {withLock} from '${library}'
     await withLock('${lock}', new AbortController().signal, async () => {
       writeFileSync('${join(folder, 'held')}', 'yes')
       await new Promise((resolve) => setTimeout(resolve, 300_000))
     })`,
  )
  const child = execa(process.execPath, [script], {reject: false})
  expect(await until(async () => (await readFile(join(folder, 'held'), 'utf8').catch(() => '')) === 'yes')).toBe(true)
  return {kill: async () => void (child.kill('SIGKILL'), await child)}
}

describe('a lock', () => {
  it('is held by one at a time', async () => {
    const lock = join(await scratch(), 'deep/er/lock')
    let inside = 0
    let most = 0
    const work = async () => {
      most = Math.max(most, ++inside)
      await new Promise((resolve) => setTimeout(resolve, 20))
      inside -= 1
      return most
    }
    await Promise.all([1, 2, 3, 4].map(async () => await withLock(lock, signal, work)))
    expect(most).toBe(1)
  })

  it('gives what the work gives, and is free after it failed', async () => {
    const lock = join(await scratch(), 'lock')
    await expect(withLock(lock, signal, async () => await Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withLock(lock, signal, async () => await Promise.resolve(5))).toBe(5)
  })

  it('excludes other processes, says that it waits, and is freed by their SIGKILL', async () => {
    const folder = await scratch()
    const lock = join(folder, 'lock')
    const child = await holder(folder, lock)
    let waits = 0
    let entered = false
    const waiting = withLock(lock, signal, async () => await Promise.resolve((entered = true)), () => (waits += 1))
    expect(await until(() => waits > 0)).toBe(true)
    expect(entered).toBe(false)
    await child.kill()
    expect(await waiting).toBe(true)
    expect(waits).toBe(1)
  })

  it('says nothing when there is no wait', async () => {
    let waits = 0
    await withLock(join(await scratch(), 'lock'), signal, async () => await Promise.resolve(), () => (waits += 1))
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(waits).toBe(0)
  })

  it('is not waited for any more after an interruption', async () => {
    const folder = await scratch()
    const lock = join(folder, 'lock')
    const child = await holder(folder, lock)
    const stop = new AbortController()
    const waiting = withLock(lock, stop.signal, async () => await Promise.reject(new Error('entered')), () => stop.abort())
    await expect(waiting).rejects.toBeInstanceOf(Interrupted)
    await child.kill()
  })

  it('is not waited for at all after an interruption that came before', async () => {
    const folder = await scratch()
    const lock = join(folder, 'lock')
    const child = await holder(folder, lock)
    const waiting = withLock(lock, AbortSignal.abort(new Interrupted()), async () => await Promise.resolve('entered')).catch((error: unknown) => error)
    const first = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 1000, 'still waiting'))])
    await child.kill()
    await waiting
    expect(first).toBeInstanceOf(Interrupted)
  })

  it('that cannot be taken at all is a failure, not an interruption', async () => {
    const lock = join(await scratch(), 'lock')
    await symlink('/proc/nowhere/lock', lock)
    await expect(withLock(lock, signal, async () => await Promise.resolve())).rejects.toBeInstanceOf(CouldNotRun)
  })
})
