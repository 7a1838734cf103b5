import {execa} from 'execa'
import {mkdir, readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {extract} from 'tar'
import {afterAll, beforeAll, describe, expect, it} from 'vitest'
import {type Host, onHost, withHost} from '../../src/host/ssh.js'
import {sha256} from '../../src/lib/hash.js'
import {type TestHost} from '../../src/machine/testhost.js'
import {type Manifest} from '../../src/router/collect.js'
import {guarded, TEMPLATE} from '../../src/router/guard.js'
import {changeGuard, type Wanted} from '../../src/router/mitigate.js'
import {context, LONG} from '../support/machine.js'
import {BIN, eventually} from '../support/patchbench.js'
import {becomeRouter, type RouterState, stateOf, steps, trouble} from '../support/router.js'
import {scratch} from '../support/scratch.js'
import {bootTestHost} from '../support/testhost.js'

const PATIENT = {timeout: 900_000}
const ALL = {mask: 0xffffffff}

let machine: TestHost
/** As it was before anything was tried on it; every test leaves it so. */
let pristine: RouterState

const connected = async <T>(work: (host: Host) => Promise<T>): Promise<T> => await withHost(context, machine.name, {config: machine.config}, work)
const patchbench = (verb: string, ...args: string[]) =>
  execa('node', [BIN, 'router', verb, '--host', machine.name, '--ssh-config', machine.config, ...args], {reject: false, stdin: 'ignore'})

async function change(host: Host, wanted: Wanted) {
  return await changeGuard(context, host, wanted, {dryRun: false, ssh: {config: machine.config}, announce: () => {}})
}

beforeAll(async () => void (machine = await bootTestHost()))
afterAll(async () => await machine.stop())

it('a host without firewall4 is refused', PATIENT, async () => {
  const {exitCode, stderr} = await patchbench('mitigate')
  expect({exitCode, stderr}).toMatchObject({exitCode: 2, stderr: expect.stringMatching(/^patchbench: testhost is no router with firewall4: it has no fw4, (no nft, )?no \/usr\/share\/firewall4\/templates\/ruleset\.uc$/) as string})
})

describe('on a router', () => {
  beforeAll(async () => await connected(async (host) => {
    await becomeRouter(host)
    pristine = await stateOf(host)
  }), 700_000)

  it('mitigate and rollback, twice each, shown first by --dry-run', PATIENT, async () => {
    const dry = await patchbench('mitigate', '--dry-run')
    expect(dry.stdout).toContain(`+\t\t${guarded(ALL.mask)}`)
    expect(dry.exitCode).toBe(0)
    expect(await connected(stateOf)).toEqual(pristine)

    const first = await patchbench('mitigate')
    expect(first.stdout).toMatch(/The way back, at any time:\n {2}ssh -F \S+ testhost 'mv .*\n(.*\n)*changing .*\n(.*\n)*done\n/)
    const after = await connected(stateOf)
    expect(after.template).toBe(pristine.template.replace('meta l4proto { tcp, udp } flow offload @ft;', () => guarded(ALL.mask)))
    expect(after.rules).toMatch(/ct direction original meta mark .*ct mark .*flow add @ft/)
    expect(after.around).toBe(pristine.around)
    const second = await patchbench('mitigate', '--json')
    expect(JSON.parse(second.stdout)).toMatchObject({changed: false, diff: ''})
    expect(await connected(stateOf)).toEqual(after)

    expect((await patchbench('rollback')).exitCode).toBe(0)
    expect(await connected(stateOf)).toEqual(pristine)
    expect((await patchbench('rollback')).stdout).toContain('already; nothing was changed')
    expect(await connected(stateOf)).toEqual(pristine)
  })

  /** As a run leaves a router with the guard that is killed between its rename and its reload. */
  const AHEAD = `cp -p ${TEMPLATE} /root/new && cp ${TEMPLATE}.before-guard ${TEMPLATE} && fw4 reload && cp -p /root/new ${TEMPLATE} && rm /root/new`

  it.runIf(LONG)('a template that is ahead of the loaded ruleset is loaded, and a run that is at work is not passed over', PATIENT, async () => {
    await connected(async (host) => {
      await change(host, ALL)
      const guardedState = await stateOf(host)
      const sh = async (script: string) => await onHost(context, host, ['sh', '-c', script])
      await sh(AHEAD)
      expect(await patchbench('mitigate', '--dry-run')).toMatchObject({exitCode: 0, stdout: expect.stringContaining('would be reloaded') as string})
      expect((await stateOf(host)).rules).not.toContain('ct direction original')

      await sh('ln -s 1 /var/lock/patchbench-router')
      expect(await patchbench('mitigate')).toMatchObject({exitCode: 69, stderr: expect.stringContaining('another run is at work on testhost: process 1 there') as string})
      await sh('rm /var/lock/patchbench-router')

      expect(await patchbench('mitigate')).toMatchObject({exitCode: 0, stdout: expect.stringMatching(/The way back(.*\n)*reloading the firewall\ndone\n/) as string})
      expect(await stateOf(host)).toEqual(guardedState)
      await sh(`nft flush chain inet fw4 forward`)
      expect(await patchbench('mitigate')).toMatchObject({exitCode: 69, stderr: expect.stringContaining('is not the one that fw4 renders') as string})
      await sh('fw4 reload')
      await change(host, 'plain')
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it('the backup of an older firewall4 is replaced, old leftovers are removed, and a template that is ahead is loaded', PATIENT, async () => {
    await connected(async (host) => {
      const folders = '/tmp/patchbench.oldold /tmp/patchbench.newnew /tmp/patchbench.others'
      await onHost(context, host, ['sh', '-c', `echo older >${TEMPLATE}.before-guard; mkdir ${folders}; touch /tmp/patchbench.oldold/new /tmp/patchbench.newnew/new
        touch -d "@$(($(date +%s) - 200000))" /tmp/patchbench.oldold /tmp/patchbench.others`])
      await change(host, ALL)
      // What a run of the day before yesterday left is removed; what a run of today holds, or somebody else, is not.
      expect((await onHost(context, host, ['sh', '-c', 'echo /tmp/patchbench.*'])).stdout.toString().trim()).toBe('/tmp/patchbench.newnew /tmp/patchbench.others')
      await tidy(host)
      expect((await onHost(context, host, ['cat', `${TEMPLATE}.before-guard`])).stdout.toString()).toBe(pristine.template)
      await onHost(context, host, ['sh', '-c', `${AHEAD}; ln -s 1 /var/lock/patchbench-router`])
      await expect(change(host, ALL)).rejects.toMatchObject({name: 'CouldNotRun', message: expect.stringMatching(/^another run is at work on testhost: process 1 there/) as string})
      await onHost(context, host, ['rm', '/var/lock/patchbench-router'])
      expect(await change(host, ALL)).toMatchObject({diff: '', reload: true, changed: true, log: expect.stringMatching(/reloading the firewall\ndone$/) as string})
      await change(host, 'plain')
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it.runIf(LONG)('another mask replaces the guard, and rollback takes out either', PATIENT, async () => {
    await connected(async (host) => {
      await change(host, {mask: 0xff00})
      expect((await stateOf(host)).template).toContain(guarded(0xff00))
      // Another mask replaces it; what rollback puts back is firewall4's own.
      await change(host, ALL)
      expect((await stateOf(host)).template).toContain(guarded(ALL.mask))
      await change(host, 'plain')
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it.each([
    ['print', 'fw4 print failed; nothing was changed', ['print']],
    ['check', 'a step failed, and the router is as it was', ['print', 'check']],
    ['load', 'a step failed, and the router is as it was', ['print', 'check', 'print', 'reload', 'reloaded', 'reload', 'reloaded']],
  ])('when %s fails it restores itself', PATIENT, async (what, message, taken) => {
    await connected(async (host) => {
      await trouble(host, what)
      await expect(change(host, ALL)).rejects.toMatchObject({name: 'CouldNotRun', message: `testhost: ${message}`})
      expect((await steps(host)).slice(0, taken.length)).toEqual(taken)
      await trouble(host, undefined)
      await onHost(context, host, ['rm', '-f', '/tmp/fw4-steps'])
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it('says so, with the way back, when it can not be restored', PATIENT, async () => {
    await connected(async (host) => {
      await trouble(host, 'reload')
      await expect(change(host, ALL)).rejects.toThrow(/^testhost was left half changed: undo it by\n {2}ssh .* testhost 'mv .* && fw4 reload'$/)
      await trouble(host, undefined)
    })
    await undone()
  })

  it('what was changed by somebody else is left alone', PATIENT, async () => {
    await connected(async (host) => {
      await onHost(context, host, ['sed', '-i', 's/flow offload @ft;/counter flow offload @ft;/', TEMPLATE])
      const {exitCode, stderr} = await patchbench('mitigate')
      expect({exitCode, stderr}).toMatchObject({exitCode: 2, stderr: expect.stringContaining('is of a form that patchbench does not know, and is left alone') as string})
      await onHost(context, host, ['sed', '-i', 's/counter flow offload @ft;/flow offload @ft;/', TEMPLATE])
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  /** Starts mitigate and waits until the router stands still in a step. */
  async function standingStill(host: Host, step: string) {
    await trouble(host, `${step}-waits`)
    const child = patchbench('mitigate')
    expect(await eventually(async () => (await steps(host)).at(-1) === step, 300)).toBe(true)
    // As a value: a promise would be waited for.
    return {child}
  }

  const finished = async (host: Host) =>
    await eventually(async () => (await onHost(context, host, ['readlink', '/var/lock/patchbench-router'], {allowedExits: 'any'})).exitCode !== 0, 300)

  it.each([
    ['killed', 'SIGKILL', undefined],
    ...(LONG ? [['interrupted', 'SIGINT', 130] as const] : []),
  ] as const)('%s in the middle, the router sees it through', PATIENT, async (_, signal, exit) => {
    await connected(async (host) => {
      const {child} = await standingStill(host, 'reload')
      child.kill(signal)
      // It ends while the router stands still.
      const {exitCode, stderr} = await child
      expect(exitCode).toBe(exit)
      if (exit === 130) {
        expect(stderr).toMatch(/testhost: it goes on by itself, to the end or back.*\nto look at it:\n {2}(.*) --dry-run\nthe way back.*\n {2}ssh .* && fw4 reload'\n/)
        const looked = await patchbench('mitigate', '--dry-run')
        expect(looked).toMatchObject({exitCode: 69, stderr: expect.stringContaining('another run is at work on testhost') as string})
      }
      await trouble(host, undefined)
      expect(await finished(host)).toBe(true)
      expect((await stateOf(host)).rules).toContain('ct direction original')
      await change(host, 'plain')
      await tidy(host)
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it('killed on both sides, the line that was printed before leads back', PATIENT, async () => {
    await connected(async (host) => {
      const {child} = await standingStill(host, 'check')
      child.kill('SIGKILL')
      const {stdout} = await child
      const wayBack = /The way back, at any time:\n {2}(.*)/.exec(stdout)?.[1]
      await onHost(context, host, ['sh', '-c', 'kill -9 $(readlink /var/lock/patchbench-router) $(pidof fw4)'], {allowedExits: 'any'})
      await trouble(host, undefined)
      expect((await stateOf(host)).template).toContain(guarded(ALL.mask))
      expect((await execa('sh', ['-c', wayBack!])).exitCode).toBe(0)
      await tidy(host)
      const now = await stateOf(host)
      expect({...now, around: ''}).toEqual({...pristine, around: ''})
      // The lock of a run that was killed is in nobody's way.
      await change(host, ALL)
      await change(host, 'plain')
      expect(await stateOf(host)).toEqual(pristine)
    })
  })

  it('collect makes an archive with a manifest, without secrets', PATIENT, async () => {
    const folder = await scratch()
    const archive = join(folder, 'router.tar.gz')
    const {stdout, exitCode} = await patchbench('collect', '--output', archive, '--capture', '2', '--mask-addresses', '--json')
    expect(exitCode).toBe(0)
    await mkdir(join(folder, 'out'))
    await extract({file: archive, cwd: join(folder, 'out'), strict: true})
    const read = async (file: string) => await readFile(join(folder, 'out/router', file), 'utf8')
    const manifest = JSON.parse(await read('manifest.json')) as Manifest
    expect(JSON.parse(stdout)).toMatchObject({archive, files: manifest.files, missing: manifest.missing})
    for (const {file, sha256: sum, bytes} of manifest.files) {
      const text = await read(file)
      expect({file, sum: sha256(text), bytes: Buffer.byteLength(text)}).toEqual({file, sum, bytes})
      expect(text).not.toMatch(/horse|provider\.example|yAnz5TF|8\.8\.4\./)
    }
    expect(manifest.masked).toMatchObject({secrets: 3, addressesAsked: true})
    expect(manifest.missing.find(({file}) => file === 'uci/mwan3.txt')?.why).toContain("can't open '/etc/config/mwan3'")
    expect(await read('conntrack-offloaded.txt')).toMatch(/src=10\.0\.0\.2 dst=public-4-\d+ .*\[OFFLOAD\]/)
    expect(await read('ip/rules4.txt')).toContain('fwmark 0xff lookup 100')
    expect(await read('ip/routes4.txt')).toContain('default via 10.0.0.3 dev br-lan table 100')
    expect(await read('nft/flowtables.txt')).toContain('devices = { lan1, wan }')
    expect(await read('ethtool.txt')).toMatch(/^lan1: hw-tc-offload: /m)
    expect(await read('captures/lan1.txt')).toMatch(/([\da-f]{2}:){5}[\da-f]{2} > ([\da-f]{2}:){5}[\da-f]{2}, ethertype IPv4/)
    expect((await readdir(join(folder, 'out/router/captures'))).sort()).toEqual(['br-lan.txt', 'lan1.txt', 'wan.txt'])

    const again = await patchbench('collect', '--output', archive, '--capture', '0')
    expect({exitCode: again.exitCode, stderr: again.stderr}).toMatchObject({exitCode: 2, stderr: expect.stringContaining('is there already') as string})
    expect(await readdir(folder)).toEqual(['out', 'router.tar.gz'])
    expect(await connected(stateOf)).toEqual(pristine)
  })

  /** Undoes what a test left, by the way back that is printed. */
  async function undone() {
    await connected(async (host) => {
      await onHost(context, host, ['sh', '-c', `mv ${TEMPLATE}.before-guard ${TEMPLATE} && fw4 reload`])
      await tidy(host)
      expect(await stateOf(host)).toEqual(pristine)
    })
  }

  /** Removes the folder in /tmp that a run leaves there whose end nobody saw, and what the stand-in for fw4 noted. */
  async function tidy(host: Host) {
    await onHost(context, host, ['sh', '-c', 'rm -rf /tmp/patchbench.* /tmp/fw4-steps'])
  }
})
