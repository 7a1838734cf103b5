import {execa} from 'execa'
import {appendFile, copyFile, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from 'vitest'
import {livepatchOf, loadCase} from '../../src/case/case.js'
import {copyToHost, removeFolder} from '../../src/host/copy.js'
import {type Host, onHost, withHost} from '../../src/host/ssh.js'
import {builtKernel} from '../../src/kernel/built.js'
import {packagedKernel} from '../../src/kernel/packaged.js'
import {projectPath} from '../../src/lib/project.js'
import {buildLivepatch} from '../../src/livepatch/build.js'
import {type TestHost} from '../../src/machine/testhost.js'
import {sourceTree} from '../../src/tree/source.js'
import {context, LONG} from '../support/machine.js'
import {BIN, caseWithLivepatch, copyOfCase, eventually} from '../support/patchbench.js'
import {scratch} from '../support/scratch.js'
import {bootTestHost} from '../support/testhost.js'

const PATIENT = {timeout: 900_000}
const MODULE = 'livepatch_vrf_lookup'

let machine: TestHost

beforeAll(async () => void (machine = await bootTestHost()))
afterAll(async () => await machine.stop())

const connected = async <T>(work: (host: Host) => Promise<T>, on = machine): Promise<T> => await withHost(context, on.name, {config: on.config}, work)

/** Runs a verb of livepatch as a user would; on the machine where no other hosts are named. */
async function livepatch(verb: string, args: readonly string[], {hosts = [machine.name], config = machine.config}: {hosts?: readonly string[]; config?: string} = {}) {
  const words = [BIN, 'livepatch', verb, ...args, '--host', hosts.join(','), '--ssh-config', config]
  const state = await scratch()
  const {exitCode, stdout, stderr} = await execa('node', words, {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: state}})
  return {exit: exitCode, stdout, stderr, state, json: () => JSON.parse(stdout) as {hosts: Record<string, unknown>[]}}
}

const out = async (host: Host, script: string) => (await onHost(context, host, ['sh', '-c', script], {allowedExits: 'any'})).stdout.toString('utf8')

/** What a load could leave: modules, livepatches, files and processes. */
async function traces(host: Host): Promise<string> {
  return await out(host, `ls /sys/kernel/livepatch; grep -o '^livepatch[^ ]*' /proc/modules; ls -d /run/patchbench /tmp/patchbench.* 2>/dev/null; ps | grep '[l]ivepatch.sh'`)
}

const nothingLeft = async () => expect(await connected(traces)).toBe('')

it('a livepatch is loaded, verified and unloaded again', PATIENT, async () => {
  const load = await livepatch('load', ['vrf-lookup', '--verify', '--force-unverified', '--json'])
  const [loaded] = load.json().hosts
  expect([load.exit, loaded]).toMatchObject([0, {result: 'loaded', revertAfter: null}])
  const checks = loaded!.verification as {check: string; status: string}[]
  expect(checks.map(({check, status}) => `${check} ${status}`)).toEqual(
    ['connection', 'enabled', 'module', 'functions', 'kernel log', 'taint', 'probe'].map((check) => `${check} passed`),
  )
  const status = (await livepatch('status', ['vrf-lookup', '--json'])).json().hosts[0]!
  // What the module says of itself is what the kernel made of it.
  const functions = ['__inet_lookup_established', '__inet_lookup_listener'].map((name) => ({object: 'vmlinux', patched: true, name}))
  expect(status.livepatches).toMatchObject([{name: MODULE, enabled: true, transition: false, parameters: {enable: 'Y'}, functions}])
  expect((await livepatch('unload', ['vrf-lookup'])).stdout).toBe(`testhost: ${MODULE} unloaded`)
  await nothingLeft()
})

it.runIf(LONG)('what was done already is not done again', PATIENT, async () => {
  expect((await livepatch('load', ['vrf-lookup', '--force-unverified'])).exit).toBe(0)
  const again = await livepatch('load', ['vrf-lookup', '--force-unverified'])
  expect([again.exit, again.stdout]).toMatchObject([0, expect.stringContaining(`${MODULE} loaded already`) as string])
  expect((await livepatch('status', ['vrf-lookup'])).exit).toBe(0)
  expect((await livepatch('unload', ['vrf-lookup'])).exit).toBe(0)
  expect(await livepatch('unload', ['vrf-lookup'])).toMatchObject({exit: 0, stdout: `testhost: ${MODULE} was not loaded`})
  expect((await livepatch('status', ['vrf-lookup'])).exit).toBe(1)
  await nothingLeft()
})

describe.runIf(LONG)('what goes wrong', () => {
  it('a transition that stalls is told with the task and its stack, and reversed', PATIENT, async () => {
    // kthreadd sleeps in its function for as long as the machine runs.
    const cases = await caseWithLivepatch('stall', 'kthreadd')
    const {exit, stdout} = await livepatch('load', ['stall', '--cases', cases, '--force-unverified', '--deadline', '5s'])
    expect(stdout).toMatch(/livepatch_stall not loaded\nthe transition stalled for 5 s and was reversed; stalled tasks:\nkthreadd\/2\n(.*\n)*.*kthreadd\+0x/)
    expect(exit).toBe(69)
    await nothingLeft()
    // The host is as usable as it was.
    expect((await livepatch('load', ['vrf-lookup', '--verify', '--force-unverified'])).exit).toBe(0)
    expect((await livepatch('unload', ['vrf-lookup'])).exit).toBe(0)
  })

  /** Begins a load that stalls, and waits until the transition is under way. */
  async function stalling(host: Host, ...args: string[]) {
    const child = livepatch('load', ['stall', '--cases', await caseWithLivepatch('stall', 'kthreadd'), '--force-unverified', ...args])
    const under_way = async () => (await out(host, 'cat /sys/kernel/livepatch/livepatch_stall/transition')).trim() === '1'
    expect(await eventually(under_way, 300)).toBe(true)
    return {child}
  }

  it('a connection that is cut during the load leaves nothing', PATIENT, async () => {
    await connected(async (host) => {
      const {child} = await stalling(host, '--deadline', '10s')
      // Every session but this one; the listener is a child of init.
      await out(host, 'for pid in $(pidof dropbear); do [ $pid = $PPID ] || grep -q "^PPid:.1$" /proc/$pid/status || kill -9 $pid; done')
      expect(await child).toMatchObject({exit: 69, stderr: expect.stringMatching(/the connection to testhost was lost; if all had arrived there, the host goes on by itself, and takes back what it loads 600 s later/) as string})
      expect(await eventually(async () => (await traces(host)) === '', 120)).toBe(true)
    })
  })

  it('Ctrl-C during the load takes it back', PATIENT, async () => {
    await connected(async (host) => {
      const cases = await caseWithLivepatch('stall', 'kthreadd')
      const words = [BIN, 'livepatch', 'load', 'stall', '--cases', cases, '--force-unverified', '--deadline', '10s', '--host', machine.name, '--ssh-config', machine.config]
      const child = execa('node', words, {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: await scratch()}})
      expect(await eventually(async () => (await out(host, 'cat /sys/kernel/livepatch/livepatch_stall/transition')).trim() === '1', 300)).toBe(true)
      child.kill('SIGINT')
      expect((await child).exitCode).toBe(130)
      expect(await traces(host)).toBe('')
    })
  })

  it('a load that is killed on the host is taken back by the switch', PATIENT, async () => {
    await connected(async (host) => {
      const {child} = await stalling(host, '--deadline', '30s', '--revert-after', '90s')
      await out(host, 'kill -9 $(readlink /run/patchbench/lock)')
      expect((await child).exit).toBe(69)
      expect(await out(host, 'ls /sys/kernel/livepatch')).toBe('livepatch_stall\n')
      expect(await eventually(async () => (await traces(host)) === '', 300)).toBe(true)
      expect(await out(host, 'tail -n 2 /var/log/patchbench-livepatch.log')).toMatch(/nobody kept livepatch_stall .*\n.* taken back livepatch_stall/)
    })
  })

  it('what is on trial goes unless it is kept', PATIENT, async () => {
    const trial = ['vrf-lookup', '--force-unverified', '--deadline', '5s', '--revert-after', '40s']
    expect((await livepatch('load', trial)).stdout).toContain('loaded on trial: in 40 s')
    expect((await livepatch('keep', ['vrf-lookup'])).stdout).toBe(`testhost: ${MODULE} stays`)
    expect((await livepatch('unload', ['vrf-lookup'])).exit).toBe(0)
    expect((await livepatch('load', trial)).exit).toBe(0)
    await connected(async (host) => {
      expect(await traces(host)).toContain('livepatch.sh')
      expect(await eventually(async () => (await traces(host)) === '', 120)).toBe(true)
    })
    expect(await livepatch('keep', ['vrf-lookup'])).toMatchObject({exit: 1, stdout: expect.stringContaining('is not loaded') as string})
  })

  it('a host whose /run has no room for a switch gets no livepatch', PATIENT, async () => {
    await connected(async (host) => {
      // Empty files still fit into the last page: they are what a switch must not be made of.
      for (const free of [0, 8, 20]) {
        await out(host, `mount -o remount,size=64k /run; cat /dev/zero >/run/full 2>/dev/null; truncate -s -${free}k /run/full`)
        const {exit, stderr} = await livepatch('load', ['vrf-lookup', '--force-unverified', '--revert-after', '90s'])
        expect([exit, stderr]).toEqual([69, expect.stringContaining('testhost: /run/patchbench is full, or cannot be written: nothing was changed') as string])
        expect(await traces(host)).toBe('')
      }
      await out(host, 'rm /run/full; mount -o remount,size=50%,ro /run')
      for (const verb of ['load', 'unload']) {
        expect((await livepatch(verb, ['vrf-lookup', ...(verb === 'load' ? ['--force-unverified'] : [])])).stderr).toContain('/run/patchbench is full, or cannot be written')
      }
      await out(host, 'mount -o remount,rw /run')
    })
  })

  it('a switch that was killed is told, and so is a trial that cannot begin', PATIENT, async () => {
    const trial = ['vrf-lookup', '--force-unverified', '--revert-after', '10m']
    await connected(async (host) => {
      expect((await livepatch('load', trial)).exit).toBe(0)
      expect(await livepatch('load', trial)).toMatchObject({exit: 0, stdout: expect.stringContaining('--revert-after does not change a trial that goes on') as string})
      await out(host, 'kill -9 $(cut -d " " -f 2 /run/patchbench/livepatch_vrf_lookup/switch)')
      expect((await livepatch('status', [])).stdout).toContain('on trial, and its switch (shell) was killed: nothing takes it back')
      expect(await livepatch('load', trial)).toMatchObject({exit: 69, stderr: expect.stringContaining('on a trial that nothing ends any more') as string})
      expect((await livepatch('keep', ['vrf-lookup'])).exit).toBe(0)
      expect(await livepatch('load', trial)).toMatchObject({exit: 69, stderr: expect.stringContaining('is loaded already and stays, and a trial begins with the load') as string})
      // Disabled by hand, nothing of it stays to be kept.
      await out(host, `echo 0 >/sys/kernel/livepatch/${MODULE}/enabled`)
      expect(await livepatch('keep', ['vrf-lookup'])).toMatchObject({exit: 1, stdout: expect.stringContaining('is not loaded and enabled') as string})
      expect((await livepatch('unload', ['vrf-lookup'])).exit).toBe(0)
      expect(await traces(host)).toBe('')
    })
  })

  it('a probe that nobody hears any more clears away what it made', PATIENT, async () => {
    const cases = await copyOfCase('vrf-lookup')
    const probe = join(cases, 'vrf-lookup/probe.sh')
    await writeFile(probe, 'trap "rm -f /tmp/of-the-probe" EXIT\ntouch /tmp/of-the-probe\nfor try in 1 2 3 4 5 6 7 8; do echo $try; sleep 1; done\n')
    await connected(async (host) => {
      const words = [BIN, 'livepatch', 'load', 'vrf-lookup', '--cases', cases, '--verify', '--force-unverified', '--host', machine.name, '--ssh-config', machine.config]
      const child = execa('node', words, {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: await scratch()}})
      expect(await eventually(async () => (await out(host, 'ls /tmp/of-the-probe 2>/dev/null')) !== '', 120)).toBe(true)
      child.kill('SIGINT')
      const {exitCode, stderr} = await child
      expect([exitCode, stderr]).toEqual([130, expect.stringContaining(`${MODULE} is taken back`) as string])
      expect(await eventually(async () => (await out(host, 'ls /tmp/of-the-probe 2>/dev/null')) === '', 60)).toBe(true)
      expect(await traces(host)).toBe('')
    })
  })

  it('a probe that fails takes it back', PATIENT, async () => {
    const cases = await caseWithLivepatch('harmless', 'cmdline_proc_show')
    await writeFile(join(cases, 'harmless/probe.sh'), 'echo "it is as it was"; exit 1\n')
    const file = join(cases, 'harmless/case.yaml')
    await writeFile(file, (await readFile(file, 'utf8')).replace('source: ../source', 'source: ../source\n    probe: probe.sh'))
    const {exit, stdout} = await livepatch('load', ['harmless', '--cases', cases, '--force-unverified', '--verify'])
    expect(stdout).toMatch(/livepatch_harmless was loaded and taken back\nprobe: it is as it was/)
    expect(exit).toBe(1)
    await nothingLeft()
  })

  it('a kprobe with a post handler on the function is a reason not to load', PATIENT, async () => {
    const source = await scratch()
    await copyFile(projectPath('test/fixtures/kprobe-post.c'), join(source, 'kprobe-post.c'))
    const {path} = await buildLivepatch(context, {...livepatchOf(await loadCase('vrf-lookup')), source, module: 'kprobe_post'}, await packagedKernel(context, '6.12'))
    await connected(async (host) => {
      const folder = await copyToHost(context, host, {'kprobe_post.ko': path})
      await onHost(context, host, ['insmod', `${folder}/kprobe_post.ko`])
      const {exit, stdout} = await livepatch('load', ['vrf-lookup', '--force-unverified'])
      expect(stdout).toMatch(/tracers +failed +__inet_lookup_listener is taken: a kprobe with a post handler/)
      expect(stdout).toContain('not fit; nothing was copied')
      expect(exit).toBe(1)
      await onHost(context, host, ['rmmod', 'kprobe_post'])
      await removeFolder(context, host, folder)
    })
  })

  it('another livepatch on the same function is a reason not to load', PATIENT, async () => {
    const cases = await caseWithLivepatch('same', 'cmdline_proc_show')
    expect((await livepatch('load', ['same', '--cases', cases, '--force-unverified'])).exit).toBe(0)
    const {exit, stdout} = await livepatch('preflight', ['other', '--cases', await caseWithLivepatch('other', 'cmdline_proc_show'), '--force-unverified'])
    expect(stdout).toMatch(/livepatches +failed +another livepatch has replaced cmdline_proc_show \(livepatch_same\)/)
    expect(exit).toBe(1)
    expect((await livepatch('unload', ['same', '--cases', cases])).exit).toBe(0)
  })

  it('a function that the kernel has not is a reason not to load', PATIENT, async () => {
    const {exit, stdout} = await livepatch('load', ['gone', '--cases', await caseWithLivepatch('gone', 'no_such_function'), '--force-unverified'])
    expect(stdout).toMatch(/functions +failed +no_such_function is not in the running kernel/)
    expect(exit).toBe(1)
    await nothingLeft()
  })
})

describe.runIf(LONG)('a host that has what it takes to build modules', () => {
  let builder: TestHost

  beforeAll(async () => {
    const kernel = await packagedKernel(context, '6.12')
    builder = await bootTestHost({kernel, name: 'builder', memory: 2560, packages: ['gcc', 'make', `linux-headers-${kernel.release}`]})
  }, 900_000)
  afterAll(async () => await builder.stop())

  it('builds the livepatch, which is verified here and loaded there', PATIENT, async () => {
    const on = {hosts: [builder.name], config: builder.config}
    // One that nobody has built nor run before.
    const cases = await copyOfCase('vrf-lookup')
    await appendFile(join(cases, '../livepatch/vrf-lookup/livepatch-vrf-lookup.c'), `MODULE_INFO(test, "${builder.config}");\n`)
    const there = ['vrf-lookup', '--cases', cases, '--build-on', 'host']
    const load = await livepatch('load', [...there, '--verify', '--json'], on)
    const [loaded] = load.json().hosts as {result: string; module: {sha256: string; path: string}; preflight: {check: string; status: string; reason: string}[]; verification: {check: string; status: string}[]}[]
    expect([load.exit, load.stderr, loaded]).toMatchObject([0, expect.stringContaining('builder: building livepatch_vrf_lookup there') as string, {result: 'loaded'}])
    expect(loaded!.preflight.filter(({status}) => status !== 'passed')).toEqual([])
    expect(loaded!.verification.filter(({status}) => status !== 'passed')).toEqual([])
    // What ran here is the host's build.
    const [, run] = /^verified on debian 6\.12\.\d+ by run (\S+): fixed$/.exec(loaded!.preflight.find(({check}) => check === 'verified')!.reason)!
    expect(await readFile(join(load.state, 'patchbench/runs', run!, 'results.json'), 'utf8')).toContain(loaded!.module.sha256)
    expect(loaded!.preflight.find(({check}) => check === 'symbols')!.reason).toContain('Module.symvers')
    // Built again it is the same build.
    expect((await livepatch('load', [...there, '--force-unverified'], on)).stdout).toContain(`${MODULE} loaded already`)
    expect((await livepatch('unload', ['vrf-lookup'], on)).stdout).toBe(`builder: ${MODULE} unloaded`)
    expect(await connected(traces, builder)).toBe('')
  })

  it('gives a build up that nobody waits for', PATIENT, async () => {
    await connected(async (host) => {
      const words = [BIN, 'livepatch', 'preflight', 'vrf-lookup', '--build-on', 'host', '--force-unverified', '--host', builder.name, '--ssh-config', builder.config]
      const child = execa('node', words, {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: await scratch()}})
      const building = async () => await out(host, 'ps | grep "[m]ake -C /lib/modules"')
      expect(await eventually(async () => (await building()) !== '', 300)).toBe(true)
      child.kill('SIGINT')
      expect((await child).exitCode).toBe(130)
      expect(await eventually(async () => (await building()) + (await traces(host)) === '', 60)).toBe(true)
    }, builder)
  })
})

describe.runIf(LONG)('hosts that want signatures, and several of them', () => {
  const others: TestHost[] = []
  let all: {hosts: string[]; config: string}

  beforeAll(async () => {
    others.push(...(await Promise.all([
      bootTestHost({name: 'second'}),
      bootTestHost({name: 'signed', commandLine: ['module.sig_enforce=1']}),
      bootTestHost({name: 'locked', commandLine: ['lockdown=integrity']}),
    ])))
    const folder = await mkdtemp(join(tmpdir(), 'patchbench-hosts-'))
    const config = join(folder, 'ssh_config')
    await writeFile(config, [machine, ...others].map((one) => `Include ${one.config}\n`).join(''))
    all = {hosts: [machine, ...others].map(({name}) => name), config}
  }, 900_000)
  afterAll(async () => {
    for (const one of others) await one.stop()
    await rm(dirname(all.config), {recursive: true})
  })

  /** What there is on each host, by its name. */
  const everywhere = async () => Object.fromEntries(await Promise.all([machine, ...others].map(async (one) => [one.name, await connected(traces, one)] as const)))

  it('are refused before anything is copied, unsigned and wrongly signed', PATIENT, async () => {
    const keys = await scratch()
    await execa('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', join(keys, 'key'), '-out', join(keys, 'cert'), '-days', '2', '-subj', '/CN=not enrolled'])
    const hosts = ['signed', 'locked']
    const unsigned = await livepatch('load', ['vrf-lookup', '--force-unverified'], {...all, hosts: ['signed']})
    expect(unsigned.stdout).toMatch(/signature +failed +the kernel takes signed modules alone .* the module is not signed: sign it/)
    expect([unsigned.exit, (await livepatch('load', ['vrf-lookup', '--force-unverified'], {...all, hosts: ['locked']})).stdout]).toEqual([1, expect.stringMatching(/signature +failed +the kernel is locked down \(integrity\), and the module is not signed/)])
    const sign = ['--sign', `${join(keys, 'key')},${join(keys, 'cert')}`]
    const wrongly = await livepatch('preflight', ['vrf-lookup', '--force-unverified', ...sign, '--json'], {...all, hosts})
    for (const {preflight} of wrongly.json().hosts as {preflight: {check: string}[]}[]) {
      expect(preflight.find(({check}) => check === 'signature')).toMatchObject({status: 'failed', reason: expect.stringContaining("does not know the key of the module's signature") as string})
    }
    expect(wrongly.exit).toBe(1)
    expect(await everywhere()).toEqual({testhost: '', second: '', signed: '', locked: ''})
    // Where nobody wants a signature, one by any key does no harm; and the kernel says the same of it as the row.
    const json = (await livepatch('load', ['vrf-lookup', '--force-unverified', ...sign, '--json'], {...all, hosts: ['second']})).json().hosts[0] as {result: string; module: {path: string}}
    expect(json.result).toBe('loaded')
    await connected(async (host) => {
      const folder = await copyToHost(context, host, {'one.ko': json.module.path})
      expect(await out(host, `insmod ${folder}/one.ko 2>&1`)).toContain('Key was rejected by service')
      await removeFolder(context, host, folder)
    }, others[1]!)
    expect((await livepatch('unload', ['vrf-lookup'], {...all, hosts: ['second']})).exit).toBe(0)
  })

  it('are changed one by one, up to the first that is not fit', PATIENT, async () => {
    const file = join(await scratch(), 'hosts.yaml')
    await writeFile(file, 'schema: 1\ngroups:\n  lab: [second, signed, testhost]\n')
    const {exit, json} = await livepatch('load', ['vrf-lookup', '--verify', '--force-unverified', '--hosts', file, '--json'], {...all, hosts: ['lab']})
    expect([exit, ...json().hosts.map(({host, result}) => [host, result])]).toEqual([1, ['second', 'loaded'], ['signed', 'unfit'], ['testhost', 'not-begun']])
    expect(await everywhere()).toEqual({testhost: '', second: `${MODULE}\n${MODULE}\n`, signed: '', locked: ''})
    const status = await livepatch('status', ['vrf-lookup', '--hosts', file, '--json'], {...all, hosts: ['lab']})
    expect(status.json().hosts.map((one) => one.exit)).toEqual([0, 1, 1])
    expect((await livepatch('unload', ['vrf-lookup', '--hosts', file], {...all, hosts: ['lab']})).stdout).toBe(
      [`second: ${MODULE} unloaded`, `signed: ${MODULE} was not loaded`, `testhost: ${MODULE} was not loaded`].join('\n\n'),
    )
    expect(await everywhere()).toEqual({testhost: '', second: '', signed: '', locked: ''})
  })

  it('load it at boot, if that is asked for', PATIENT, async () => {
    const second = {...all, hosts: ['second']}
    const args = ['vrf-lookup', '--force-unverified']
    const files = async () => await connected(async (host) => await out(host, 'cd /; cat etc/modules-load.d/* etc/modprobe.d/*; find lib/modules -name "livepatch*"'), others[0]!)
    const without = await livepatch('load', [...args, '--persist'], second)
    expect(without).toMatchObject({exit: 69, stderr: expect.stringContaining('second has no /etc/modules-load.d') as string})
    await connected(async (host) => await onHost(context, host, ['mkdir', '/etc/modules-load.d']), others[0]!)
    expect((await livepatch('load', [...args, '--persist'], second)).stdout).toMatch(/loaded already, and at every boot of this kernel$/)
    expect(await files()).toMatch(/^livepatch_vrf_lookup\noptions livepatch_vrf_lookup enable=1\nlib\/modules\/\S+\/updates\/patchbench\/livepatch_vrf_lookup\.ko\n$/)
    // What systemd-modules-load does at boot.
    await connected(async (host) => {
      await out(host, `echo 0 >/sys/kernel/livepatch/${MODULE}/enabled; until rmmod ${MODULE} 2>/dev/null; do sleep 1; done; modprobe $(cat /etc/modules-load.d/patchbench-*.conf)`)
      expect(await out(host, `cat /sys/module/${MODULE}/parameters/enable`)).toBe('Y\n')
    }, others[0])
    expect((await livepatch('load', [...args, '--no-persist'], second)).stdout).toMatch(/loaded already$/)
    expect(await files()).toBe('')
    expect((await livepatch('load', [...args, '--persist'], second)).exit).toBe(0)
    expect((await livepatch('unload', ['vrf-lookup'], second)).exit).toBe(0)
    expect([await files(), await everywhere()]).toEqual(['', {testhost: '', second: '', signed: '', locked: ''}])
  })

  it('say what they will load at boot although it was unloaded', PATIENT, async () => {
    const second = {...all, hosts: ['second']}
    await connected(async (host) => {
      await out(host, 'mkdir -p /etc/modules-load.d')
      expect((await livepatch('load', ['vrf-lookup', '--force-unverified', '--persist'], second)).exit).toBe(0)
      await out(host, 'mount -o bind /etc/modules-load.d /etc/modules-load.d; mount -o remount,bind,ro /etc/modules-load.d')
      const unload = await livepatch('unload', ['vrf-lookup'], second)
      expect([unload.exit, unload.stderr]).toEqual([69, expect.stringContaining(`second: ${MODULE} is not loaded any more, but will be at the next boot: /etc/modules-load.d/patchbench-${MODULE}.conf cannot be removed`) as string])
      expect((await livepatch('status', [], second)).stdout).toContain(`${MODULE}: is not there, but is loaded at every boot`)
      await out(host, 'umount /etc/modules-load.d')
      expect((await livepatch('unload', ['vrf-lookup'], second)).exit).toBe(0)
      expect((await livepatch('status', [], second)).stdout).not.toContain('at every boot')
    }, others[0])
  })

  it('are all told of where one after another is interrupted', PATIENT, async () => {
    const words = [BIN, 'livepatch', 'load', 'vrf-lookup', '--force-unverified', '--json', '--host', 'second,testhost,signed', '--ssh-config', all.config]
    const child = execa('node', words, {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: await scratch()}})
    child.stderr.on('data', (text: Buffer) => void (text.includes('testhost: looking at it') && child.kill('SIGINT')))
    const {exitCode, stdout} = await child
    const {hosts} = JSON.parse(stdout) as {hosts: {host: string; result: string; exit: number}[]}
    expect([exitCode, ...hosts.map(({host, result, exit}) => [host, result, exit])]).toEqual([130, ['second', 'loaded', 0], ['testhost', 'interrupted', 130], ['signed', 'not-begun', 130]])
    expect((await livepatch('unload', ['vrf-lookup'], {...all, hosts: ['second']})).exit).toBe(0)
  })

  it('that cannot be reached are told on standard error, with --json as well', PATIENT, async () => {
    const {exit, stderr, json} = await livepatch('status', ['--json'], {...all, hosts: ['second', 'root@127.0.0.1:1']})
    expect([exit, json().hosts.length]).toEqual([69, 2])
    expect(stderr).toContain('patchbench: root@127.0.0.1:1: there is no connection to root@127.0.0.1:1')
  })

  // The last one: the host is not the same afterwards.
  it('are refused for all that makes them unfit', PATIENT, async () => {
    await connected(async (host) => {
      const {build} = await (await packagedKernel(context, '6.12')).headers(context)
      const symvers = (await readFile(join(build, 'Module.symvers'), 'utf8')).replace(/^0x\w+(?=\tkfree\t)/m, '0x00000001')
      const folder = await copyToHost(context, host, {'Module.symvers': Buffer.from(symvers)})
      await out(host, `build=/lib/modules/$(uname -r)/build; mkdir $build; mv ${folder}/Module.symvers $build; rm -r ${folder}
        rmmod nf_flow_table_inet nft_flow_offload nf_flow_table; echo 128 >/proc/sys/kernel/tainted
        left=$(($(sed -n 's/^MemAvailable: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) / 1024))
        dd if=/dev/zero of=/run/fill bs=1M count=300; dd if=/dev/zero of=/tmp/fill bs=1M count=$((left - 322))`)
    }, others[0])
    const {exit, stdout} = await livepatch('load', ['flowtable-dst', '--force-unverified'], {...all, hosts: ['second']})
    expect(stdout).toMatch(/symbols +failed +the host's kernel has other CRCs of kfree/)
    expect(stdout).toMatch(/functions +failed +flow_offload_route_init, .* are not in the running kernel/)
    expect(stdout).toMatch(/modules +failed +nf_flow_table not loaded/)
    expect(stdout).toMatch(/taint +failed +D: the kernel has died once/)
    expect(stdout).toMatch(/memory +failed +\d+ MiB are available/)
    expect(exit).toBe(1)
  })
})

// Builds a kernel.
describe.runIf(Boolean(process.env.PATCHBENCH_KERNELS))('a kernel with MODULE_SIG_FORCE and our key built in', () => {
  it('takes what we signed, and is sent nothing else', {timeout: 14_400_000}, async () => {
    const folder = await scratch()
    const key = async (name: string) => {
      const [file, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
      await execa('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-sha256', '-keyout', file, '-out', certificate, '-days', '30', '-subj', `/CN=${name}`])
      return {certificate, sign: ['--sign', `${file},${certificate}`]}
    }
    const [ours, another] = [await key('ours'), await key('another')]
    const fragment = join(folder, 'signatures.config')
    const options = await readFile(projectPath('test/fixtures/signatures.config'), 'utf8')
    await writeFile(fragment, `${options}CONFIG_SYSTEM_TRUSTED_KEYS="${ours.certificate}"\n`)
    const kernel = await builtKernel(context, await sourceTree(context, {tree: 'linux', line: '6.12'}), {fragment})
    const {vmlinuz, modules} = await kernel.image(context)
    const {build} = await kernel.headers(context)
    const args = ['vrf-lookup', '--force-unverified', '--kernel', vmlinuz, '--modules', modules, '--headers', build]
    const forced = await bootTestHost({kernel, name: 'forced'})
    try {
      const on = {hosts: [forced.name], config: forced.config}
      expect((await livepatch('load', args, on)).stdout).toMatch(/signature +failed +.*, and the module is not signed/)
      expect((await livepatch('load', [...args, ...another.sign], on)).stdout).toMatch(/signature +failed +.* does not know the key/)
      expect(await connected(traces, forced)).toBe('')
      expect((await livepatch('load', [...args, ...ours.sign], on)).stdout).toContain(`${MODULE} loaded`)
      expect((await livepatch('unload', ['vrf-lookup'], on)).exit).toBe(0)
    } finally {
      await forced.stop()
    }
  })
})
