import {mkdir, readdir, readFile, symlink, writeFile} from 'node:fs/promises'
import {createServer} from 'node:net'
import {homedir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from 'vitest'
import {make} from '../../src/kernel/make.js'
import {bubblewrap, runConfined} from '../../src/lib/confine.js'
import {type Context} from '../../src/lib/context.js'
import {InputError} from '../../src/lib/errors.js'
import {NO_SANDBOX} from '../support/sandbox.js'
import {contextIn, scratch, until} from '../support/scratch.js'
import {DELEGATE} from '../support/series.js'

async function confined(): Promise<Context> {
  const context = contextIn('/nowhere')
  return {...context, confine: await bubblewrap(context.signal)}
}

/** A tree whose Makefile does something, and its build folder. */
async function treeWith(recipe: string): Promise<{source: string; build: string}> {
  const source = await scratch()
  const build = join(source, 'build')
  await mkdir(build)
  await writeFile(join(source, 'Makefile'), DELEGATE)
  await writeFile(join(build, 'Makefile'), `all:\n${recipe.split('\n').map((line) => `\t${line}`).join('\n')}\n`)
  return {source, build}
}

async function makeWith(recipe: string): Promise<string> {
  const {build} = await treeWith(recipe)
  return (await make(await confined(), 'linux', {build, arguments: ['all']})).output
}

/** Whether any process has this command line (proc(5)). */
async function isRunning(command: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const lines = await Promise.all(pids.map(async (pid) => await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '')))
  return lines.some((line) => line.split('\0').join(' ').trim() === command)
}

describe('outside a sandbox', () => {
  it('a program runs as it is', async () => {
    const {stdout} = await runConfined(contextIn('/nowhere'), 'sh', ['-c', 'echo $HOME'], {writes: [], reads: []})
    expect(stdout).toBe(homedir())
  })
})

describe.skipIf(NO_SANDBOX)(`in a sandbox ${NO_SANDBOX}`, () => {
  let home: string
  const before = {...process.env}
  beforeEach(async () => {
    home = await scratch()
    await writeFile(join(home, 'secret'), 'a key of mine\n')
    Object.assign(process.env, {HOME: home, PATCHBENCH_TEST_TOKEN: 'a token of mine'})
  })
  afterEach(() => {
    process.env.HOME = before.HOME
    delete process.env.PATCHBENCH_TEST_TOKEN
  })

  it("a Makefile that writes to $HOME, ours and the one that it is told, changes nothing there", async () => {
    const output = await makeWith(`@echo mine > ${home}/left || echo 'not ours'\n@echo mine > $$HOME/left || echo 'not that'\n@mkdir -p ${home}/more && echo made > ${home}/more/left || true`)
    expect(output).toMatch(/not ours\n(.*\n)*not that/)
    expect(await readdir(home)).toEqual(['secret'])
  })

  it('a Makefile sees no file, variable, process or address of ours', async () => {
    const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const {port} = server.address() as {port: number}
    const secrets = `@cat ${home}/secret || echo 'no file'\n@echo "token: $$PATCHBENCH_TEST_TOKEN."\n@ls -d /proc/[0-9]* | wc -l\n@ls /root /home /var /run /work 2>&1 | sort\n@bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port}' || echo 'no network'\n@cat /sys/class/net/*/address || echo 'no devices'`
    const output = await makeWith(secrets)
    server.close()
    expect(output).toContain('no file')
    expect(output).not.toContain('a key of mine')
    expect(output).toContain('token: .')
    expect(output).toContain('no network')
    expect(output).toContain('no devices')
    expect(Number(/^\d+$/m.exec(output)?.[0])).toBeLessThan(10)
  })

  it('writes to the build and to TMPDIR, and not to the sources or the system', async () => {
    const {source, build} = await treeWith("@echo built > built.o\n@echo built > $$TMPDIR/x && cat $$TMPDIR/x\n@echo bad > ../Makefile || echo 'no source'\n@ln ../Makefile hard || echo 'no link'\n@touch /usr/bin/x || echo 'no system'")
    const {output} = await make(await confined(), 'linux', {build, arguments: ['all']})
    for (const word of ['built', 'no source', 'no link', 'no system']) expect(output).toContain(word)
    expect(await readFile(join(build, 'built.o'), 'utf8')).toBe('built\n')
    expect(await readFile(join(source, 'Makefile'), 'utf8')).toBe(DELEGATE)
  })

  it.each([
    ['a link that leads out', (path: string) => `@ln -s ${path}/secret .config`, /a link to .*secret, outside its folders/],
    ['a link by way of the parent folder', () => '@ln -s ../../../../etc/passwd .config', /a link to \.\.\/\.\.\/\.\.\/\.\.\/etc\/passwd/],
    ['a link to a link', (path: string) => `@ln -s b a; ln -s ${path} b`, /outside its folders/],
    ['a pipe, on which a reader hangs', () => '@mkfifo .config', /no file and no folder/],
  ])('a build that leaves %s is refused', async (_, recipe, words) => {
    const error = await makeWith(recipe(home)).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(InputError)
    expect((error as Error).message).toMatch(words)
  })

  it('a build may leave links within its folders, as kbuild does', async () => {
    const {build} = await treeWith('@ln -s .. source; ln -s built.o other; touch built.o')
    await symlink(build, join(build, 'here'))
    expect(await make(await confined(), 'linux', {build, arguments: ['all']})).toMatchObject({objects: 0})
  })

  it('a build that is interrupted leaves no process, not even one that turned away from make', async () => {
    const {build} = await treeWith(`@setsid -f sleep 98${process.pid}\n@touch begun; sleep 98${process.pid}`)
    const stop = new AbortController()
    const made = make({...(await confined()), signal: stop.signal}, 'linux', {build, arguments: ['all']})
    const ended = expect(made).rejects.toThrow()
    expect(await until(async () => (await readdir(build)).includes('begun') && (await isRunning(`sleep 98${process.pid}`)), 60_000)).toBe(true)
    stop.abort()
    await ended
    expect(await until(async () => !(await isRunning(`sleep 98${process.pid}`)), 10_000)).toBe(true)
  })

  it('a failed build says what failed', async () => {
    await expect(makeWith("@echo 'net/a.c:1:2: error: no such thing'; false")).rejects.toThrow('linux does not build: net/a.c:1:2: error: no such thing')
  })
})
