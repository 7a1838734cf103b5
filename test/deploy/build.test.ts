import {copyFile, readFile, writeFile} from 'node:fs/promises'
import {release} from 'node:os'
import {join} from 'node:path'
import {beforeAll, describe, expect, it} from 'vitest'
import {type Livepatch} from '../../src/case/case.js'
import {preflightCommand} from '../../src/commands/livepatch.js'
import {buildOnHost} from '../../src/deploy/build.js'
import {type Host} from '../../src/host/ssh.js'
import {type Context} from '../../src/lib/context.js'
import {sha256} from '../../src/lib/hash.js'
import {projectPath} from '../../src/lib/project.js'
import {context} from '../support/machine.js'
import {caseWithLivepatch} from '../support/patchbench.js'
import {cut, sandboxHost, sandboxRoot} from '../support/sandboxhost.js'
import {alive, contextIn, scratch, until} from '../support/scratch.js'

const RELEASE = release()

/** Stands for a kernel's headers: builds what Kbuild names, with all that make was given. */
const HEADERS = `include $(M)/Kbuild
modules: $(addprefix $(M)/,$(obj-m:.o=.ko))
$(M)/%.ko: $(M)/%.c
	gcc $(KCFLAGS) $(ccflags-y) -O2 -fno-pic -mcmodel=kernel -DREPLACE=0 -g -c -o $@ $<
`

/** A build that does not end, and says which process it is. */
const ENDLESS = 'modules:\n\t@echo $$$$ >~/pid.new; mv ~/pid.new ~/pid; sleep 600 & echo $$! >~/child; wait\n'

async function livepatch(text = 'int one(void)\n{\n\treturn 1;\n}\nconst char *where = __FILE__;\n'): Promise<Livepatch> {
  const source = await scratch()
  await writeFile(join(source, 'livepatch-one.c'), text)
  return {name: 'one', module: 'livepatch_one', source, parameters: {}, claims: []} as unknown as Livepatch
}

beforeAll(async () => void (await sandboxRoot()))

describe('a livepatch that is built on a host', {timeout: 60_000}, () => {
  it('comes back as it is, is the same every time, and leaves nothing there', async () => {
    const host = await sandboxHost({makefile: HEADERS})
    const own = contextIn(await scratch())
    const one = await livepatch()
    const build = async () => await host.connected(async (connected) => await buildOnHost(own, connected, one, RELEASE))
    const module = await build()
    const bytes = await readFile(module.path)
    expect([bytes.subarray(0, 4).toString('latin1'), sha256(bytes), module.path.endsWith('/livepatch_one.ko')]).toEqual(['\u007fELF', module.sha256, true])
    // Its folder has another name each time.
    expect(await build()).toEqual(module)
    expect(await host.left()).toEqual([])
  })

  it('that does not compile is told by the first error, in the file that the user knows', async () => {
    const host = await sandboxHost({makefile: HEADERS})
    const one = await livepatch('int one(void)\n{\n\treturn two;\n}\n')
    const build = host.connected(async (connected) => await buildOnHost(contextIn(await scratch()), connected, one, RELEASE))
    await expect(build).rejects.toMatchObject({name: 'CouldNotRun', message: expect.stringMatching(new RegExp(`^the livepatch does not build on lab for \\S+: ${one.source}/livepatch-one\\.c:3:16: error: .two. undeclared`)) as string})
    expect(await host.left()).toEqual([])
  })

  it.each([
    ['no headers', {}, `it has no headers of the kernel ${RELEASE} that it runs (/lib/modules/${RELEASE}/build): install`],
    ['no make, and no headers', {without: ['make']}, 'it has no make, and no headers of'],
    ['no compiler', {makefile: 'modules:\n\tx86_64-linux-gnu-gcc-99 -c one.c\n'}, 'it has no x86_64-linux-gnu-gcc-99: install that there, or build here by leaving --build-on host out'],
    ['no compiler, as a shell says it', {makefile: 'modules:\n\tx=1; gcc-99 -c one.c\n'}, 'it has no gcc-99: install'],
  ])('is none where the host has %s', async (_, options, sentence) => {
    const host = await sandboxHost(options)
    const build = host.connected(async (connected) => await buildOnHost(contextIn(await scratch()), connected, await livepatch(), RELEASE))
    await expect(build).rejects.toMatchObject({name: 'CouldNotRun', message: expect.stringContaining(`lab cannot build modules: ${sentence}`) as string})
    expect(await host.left()).toEqual([])
  })

  it.each([
    ['more than a module has', {makefile: 'modules:\n\thead -c 20000000 /dev/zero >$(M)/livepatch-one.ko\n'}, /on lab printed more than 16777216 bytes$/],
    ['other bytes than it says', {makefile: HEADERS, programs: {cut: '/usr/bin/cut "$@" | tr 0-9 1-90'}}, /^lab sent no module, or one that was damaged on its way/],
    ['no module', {makefile: 'modules:\n'}, /^lab sent no module/],
    ['the complaint of a program that is not there', {makefile: 'modules:\n\t@x=1; perl-99 kernel-doc\n'}, /^the livepatch does not build on lab for \S+: \S*sh: (\d+: )?perl-99: not found$/],
    ['control characters', {makefile: 'modules:\n\t@printf "error: \\033[2Jgone\\n"; exit 1\n'}, /^the livepatch does not build on lab for \S+: error: gone$/],
  ])('is none where the host sends %s', async (_, options, message) => {
    const host = await sandboxHost(options)
    const build = host.connected(async (connected) => await buildOnHost(contextIn(await scratch()), connected, await livepatch(), RELEASE))
    await expect(build).rejects.toMatchObject({name: 'CouldNotRun', message: expect.stringMatching(message) as string})
    expect(await until(async () => (await host.left()).length === 0, 20_000)).toBe(true)
  })

  it.each<[string, (host: Host, interrupt: () => void) => unknown, object]>([
    ['Ctrl-C', (_, interrupt) => interrupt(), {name: 'Interrupted'}],
    ['a connection that is cut', cut, {name: 'CouldNotRun', message: 'the connection to lab was lost'}],
  ])('is given up there after %s, with all of its processes', async (_, act, error) => {
    const host = await sandboxHost({makefile: ENDLESS})
    const interruption = new AbortController()
    const own: Context = contextIn(await scratch(), interruption.signal)
    const one = await livepatch()
    const build = host.connected(async (connected) => {
      const built = buildOnHost(own, connected, one, RELEASE)
      built.catch(() => {})
      await host.homeFile('pid')
      await act(connected, () => interruption.abort())
      return await built
    }, own)
    await expect(build).rejects.toMatchObject(error)
    const processes = [await host.homeFile('pid'), await host.homeFile('child')].map(Number)
    expect(await until(async () => (await host.left()).length === 0, 20_000)).toBe(true)
    // What was killed is gone in a moment.
    expect(await until(() => processes.filter(alive).length === 0)).toBe(true)
  })
})

describe('a host whose kernel nothing is here of', {timeout: 60_000}, () => {
  /** The rows for a case whose livepatch is the module livepatch_one, by whatever name. */
  async function preflight(name: string): Promise<{check: string; status: string; reason: string}[]> {
    const host = await sandboxHost({makefile: HEADERS})
    const cases = await caseWithLivepatch(name, 'ip_rcv')
    await copyFile(projectPath('test/fixtures/livepatch-shaped.c'), join(cases, `source/livepatch-${name}.c`))
    const {text} = await preflightCommand(context, name, {cases, host: ['lab'], sshConfig: host.config, accel: 'auto', buildOn: 'host', json: true})
    expect(await host.left()).toEqual([])
    return (JSON.parse(text) as {hosts: {preflight: {check: string; status: string; reason: string}[]}[]}).hosts[0]!.preflight
  }

  it('builds its livepatch, which nobody can verify', async () => {
    const rows = await preflight('one')
    expect(rows.find(({check}) => check === 'verified')).toMatchObject({status: 'failed', reason: `unverified: there is no image of ${RELEASE} to boot here`})
    // Judged by the module that came.
    expect(rows.find(({check}) => check === 'modules')!.reason).toContain('nf_tables')
  })

  it('and a module of another name is not looked at', async () => {
    await expect(preflight('two')).rejects.toThrow(/livepatch_two\.ko is the module livepatch_one, and not livepatch_two$/)
  })
})
