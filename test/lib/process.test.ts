import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {CouldNotRun, Interrupted} from '../../src/lib/errors.js'
import {endGroup, lastLines, run, signalGroup} from '../../src/lib/process.js'
import {alive, scratch, until} from '../support/scratch.js'

const signal = new AbortController().signal
const sh = (script: string) => ['-c', script]

async function failureOf(promise: Promise<unknown>): Promise<CouldNotRun> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(CouldNotRun)
  return error as CouldNotRun
}

describe('a program', () => {
  it('gives its output and its exit code', async () => {
    expect(await run('sh', sh('echo out; echo err >&2'), {signal})).toMatchObject({stdout: 'out', stderr: 'err', exitCode: 0})
  })

  it('that is missing is named, with what to do', async () => {
    const {message} = await failureOf(run('no-such-program', ['x'], {signal}))
    expect(message).toBe("no-such-program is not installed; 'patchbench doctor' says which package holds it")
  })

  it('that fails says how, with the end of what it printed', async () => {
    const error = await failureOf(run('sh', sh('seq 100; echo it broke >&2; exit 3'), {signal}))
    expect(error.message).toBe('sh failed with exit code 3')
    expect(error.detail.split('\n')).toHaveLength(15)
    expect(error.detail).toMatch(/100\nit broke$/)
  })

  it('may fail when that is an answer', async () => {
    expect(await run('sh', sh('exit 3'), {signal, allowedExits: [0, 3]})).toMatchObject({exitCode: 3})
    await failureOf(run('sh', sh('exit 0'), {signal, allowedExits: [3]}))
  })

  it('that is ended by a signal says which', async () => {
    expect((await failureOf(run('sh', sh('kill -KILL $$'), {signal}))).message).toContain('SIGKILL')
    expect(await run('sh', sh('kill -KILL $$'), {signal, allowedExits: 'any'})).toMatchObject({exitCode: -1})
  })

  it('that finds the disk full says so', async () => {
    const {message} = await failureOf(run('sh', sh('echo "tar: x: Cannot write: No space left on device" >&2; exit 2'), {signal}))
    expect(message).toBe('sh found the disk full')
  })

  it('gets its folder, its environment and its input', async () => {
    const cwd = await scratch()
    const {stdout} = await run('sh', sh('pwd; echo $WORD $LC_ALL; cat'), {signal, cwd, env: {WORD: 'hello'}, input: 'from us'})
    expect(stdout).toBe(`${cwd}\nhello C.UTF-8\nfrom us`)
  })

  it('has an empty input where none is given', async () => {
    expect((await run('cat', [], {signal})).stdout).toBe('')
  })

  it('passes on each line as it comes, of both outputs', async () => {
    const lines: string[] = []
    await run('sh', sh('echo one; echo two >&2'), {signal, onLine: (line) => void lines.push(line)})
    expect(lines.sort()).toEqual(['one', 'two'])
    await run('printf', ['three\\nfour'], {signal, onLine: (line) => void lines.push(line)})
    expect(lines.slice(2)).toEqual(['three', 'four'])
  })

  it('that prints lines and then fails is a failure like any other', async () => {
    const lines: string[] = []
    const error = await failureOf(run('sh', sh('echo one; exit 3'), {signal, onLine: (line) => void lines.push(line)}))
    expect(error.message).toContain('exit code 3')
    expect(lines).toEqual(['one'])
  })

  it('is found in sbin', async () => {
    expect((await run('sh', sh('echo $PATH'), {signal})).stdout).toMatch(/:\/usr\/sbin:\/sbin$/)
  })
})

describe('an interruption', () => {
  it.each([
    ['', undefined],
    [' of one whose lines are read', () => {}],
  ])('ends the program and its grandchildren%s', async (_, onLine) => {
    const pids = join(await scratch(), 'pids')
    const stop = new AbortController()
    const script = `sleep 300 & echo $! >>${pids}; (sleep 300 & echo $! >>${pids}; wait) & echo $$ >>${pids}; wait`
    const running = run('sh', sh(script), {signal: stop.signal, ...(onLine ? {onLine} : {})})
    const settled = running.catch((error: unknown) => error)
    const read = async () => (await readFile(pids, 'utf8').catch(() => '')).split('\n').filter(Boolean).map(Number)
    expect(await until(async () => (await read()).length === 3)).toBe(true)
    const processes = await read()
    expect(processes.every(alive)).toBe(true)
    stop.abort()
    expect(await settled).toBeInstanceOf(Interrupted)
    expect(await until(() => !processes.some(alive))).toBe(true)
  })

  async function stubborn(): Promise<{ended: Promise<unknown>; pid: number}> {
    const file = join(await scratch(), 'pid')
    const stop = new AbortController()
    // Holds none of our pipes and does not hear SIGTERM.
    const deaf = `sh -c 'trap "" TERM; echo $$ >${file}.new; mv ${file}.new ${file}; while :; do sleep 0.1; done' >/dev/null 2>&1 &`
    const ended = run('sh', sh(`${deaf} sleep 300`), {signal: stop.signal}).catch((error: unknown) => error)
    expect(await until(async () => (await readFile(file, 'utf8').catch(() => '')) !== '')).toBe(true)
    const pid = Number(await readFile(file, 'utf8'))
    stop.abort()
    return {ended, pid}
  }

  it('ends what does not hear SIGTERM, too', async () => {
    const {ended, pid} = await stubborn()
    expect(await ended).toBeInstanceOf(Interrupted)
    expect(await until(() => !alive(pid))).toBe(true)
  })

  it('is over only when the whole group has ended', async () => {
    const {ended, pid} = await stubborn()
    expect(await ended).toBeInstanceOf(Interrupted)
    const left = alive(pid)
    await until(() => !alive(pid))
    expect(left).toBe(false)
  })

  it('that came before starts nothing', async () => {
    const file = join(await scratch(), 'ran')
    await expect(run('touch', [file], {signal: AbortSignal.abort(new Interrupted())})).rejects.toBeInstanceOf(Interrupted)
    await expect(readFile(file)).rejects.toThrow('ENOENT')
  })
})

describe('a process group', () => {
  it('that is gone takes no signal', async () => {
    expect(signalGroup(2 ** 22 + 1, 0)).toBe(false)
    await endGroup(2 ** 22 + 1)
    await endGroup(undefined)
  })
})

it('dies with us, even when we are killed', async () => {
  const folder = await scratch()
  const pidFile = join(folder, 'pid')
  const script = join(folder, 'parent.mjs')
  const library = new URL('../../dist/lib/process.js', import.meta.url).href
  await writeFile(
    script,
    `import {run} from '${library}'
     await run('sh', ['-c', 'echo $$ >${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 300'], {signal: new AbortController().signal})`,
  )
  const parent = run(process.execPath, [script], {signal, allowedExits: 'any', onLine: () => {}}).catch((error: unknown) => error)
  expect(await until(async () => (await readFile(pidFile, 'utf8').catch(() => '')) !== '')).toBe(true)
  const pid = Number(await readFile(pidFile, 'utf8'))
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  process.kill(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]), 'SIGKILL')
  await parent
  expect(await until(() => !alive(pid))).toBe(true)
})

it('lastLines keeps the end of a text', () => {
  expect(lastLines('a\nb\nc\n\n', 2)).toBe('b\nc')
  expect(lastLines('a', 5)).toBe('a')
})
