import {readdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Kernel} from '../kernel/kernel.js'
import {artefact, type Artefact, forget} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {projectPath} from '../lib/project.js'
import {type WantedModules, writeInitramfs} from './initramfs.js'
import {describeEnding, type Limits, watch} from './monitor.js'
import {type Hardware, type Machine, qemuIdentity, startMachine, STATE} from './qemu.js'
import {Qmp} from './qmp.js'
import {type GuestRoot} from './root.js'

/** What boots, and on what. */
export type Blueprint = {
  kernel: Kernel
  root: GuestRoot
  hardware: Hardware
  /** Modules that are loaded before the snapshot is taken. */
  modules: WantedModules
}

export type Snapshot = {
  key: string
  hardware: Hardware
  folder: string
  seconds: {boot: number}
}

/** Boot parameters (Documentation/admin-guide/kernel-parameters.txt). */
const COMMAND_LINE = [
  'console=ttyS0',
  'panic=-1', // with -no-reboot, a panic ends the machine at once
  'no_timer_check', // the check counts on a host that is never busy, and panics
  'random.trust_cpu=on',
  'mitigations=off', // they cost emulated instructions and change nothing under test
  'cryptomgr.notests',
]

/**
 * A machine that has booted and waits for a job, made once per kernel, root,
 * hardware and QEMU.
 *
 * Instead of savevm's one qcow2, the memory is a plain file that every session
 * maps copy-on-write and the state beside it is a few hundred KiB: a session
 * starts in under 0.1 s instead of 0.6 s, and needs no disk to hold it.
 */
export async function snapshot(context: Context, blueprint: Blueprint): Promise<Snapshot> {
  const inputs = await snapshotInputs(blueprint)
  const key = keyOf(inputs)
  const made = await artefact(context, 'snapshot', key, inputs, async (into) => await makeSnapshot(context, blueprint, into))
  return await describeSnapshot(key, blueprint.hardware, made)
}

/** Throws a snapshot away that does not restore, so that it is made anew. */
export async function forgetSnapshot(context: Context, {key}: Snapshot): Promise<void> {
  context.progress('a snapshot does not restore with this QEMU and is made anew')
  await forget(context, 'snapshot', key)
}

async function snapshotInputs({kernel, root, hardware, modules}: Blueprint) {
  return {
    kernel: kernel.key,
    root: root.id,
    modules,
    hardware,
    cpu: hardware.accelerator === 'kvm' ? await hostCpu() : 'emulated',
    qemu: await qemuIdentity(),
    guest: await guestFiles(),
    commandLine: COMMAND_LINE,
    steps: 1,
  }
}

async function hostCpu(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8')
  return /^model name.*$/m.exec(text)?.[0] + (/^flags.*$/m.exec(text)?.[0] ?? '')
}

async function guestFiles(): Promise<Record<string, string>> {
  const library = (await readdir(projectPath('vm/lib'))).filter((name) => name.endsWith('.py')).map((name) => `lib/${name}`)
  const files = ['init', 'agent.py', ...library.sort()]
  const sums = await Promise.all(files.map(async (file) => [file, await sha256File(projectPath('vm', file))] as const))
  return Object.fromEntries(sums)
}

async function describeSnapshot(key: string, hardware: Hardware, {directory}: Artefact): Promise<Snapshot> {
  const seconds = JSON.parse(await readFile(join(directory, 'seconds.json'), 'utf8')) as {boot: number}
  return {key, hardware, folder: directory, seconds}
}

async function makeSnapshot(context: Context, blueprint: Blueprint, into: string): Promise<void> {
  const {kernel, hardware} = blueprint
  const image = await kernel.image(context)
  const scratch = join(into, 'scratch')
  const initramfs = await writeInitramfs(context, {...blueprint, image, release: kernel.release}, scratch)
  context.progress(`booting ${kernel.label} under ${hardware.accelerator}${hardware.virtualTime ? ' in virtual time' : ''}`)
  const started = Date.now()
  const machine = startMachine(context, hardware, {
    folder: into,
    shared: true,
    arguments: ['-kernel', image.vmlinuz, '-initrd', initramfs, '-append', COMMAND_LINE.join(' ')],
  })
  try {
    await boot(context, blueprint, machine, into)
    await writeFile(join(into, 'seconds.json'), JSON.stringify({boot: (Date.now() - started) / 1000}))
    await save(machine)
  } finally {
    await machine.kill()
  }
  await rm(scratch, {recursive: true})
}

async function boot(context: Context, {kernel, hardware}: Blueprint, machine: Machine, into: string): Promise<void> {
  let console = ''
  const ending = await watch({
    machine,
    limits: bootLimits(hardware),
    onEvent: (event) => event.event === 'ready',
    onConsole: (text) => (console += text),
  })
  context.signal.throwIfAborted()
  await writeFile(join(into, 'console.new'), console)
  await rename(join(into, 'console.new'), join(into, 'console.log'))
  if (ending.kind !== 'reached') throw new CouldNotRun(describeEnding(ending, `booting ${kernel.label}`), lastLines(printable(console), 20))
}

function bootLimits({accelerator, virtualTime}: Hardware): Limits {
  const factor = (accelerator === 'kvm' ? 1 : 4) * (virtualTime ? 3 : 1)
  return {silence: 15_000 * factor, progress: 30_000 * factor, deadline: 30_000 * factor}
}

/** Memory that is a shared file need not be copied into the state (QEMU's x-ignore-shared). */
export const CAPABILITIES = {capabilities: [{capability: 'x-ignore-shared', state: true}]}

async function save(machine: Machine): Promise<void> {
  const qmp = await Qmp.connect(machine.monitor)
  await qmp.execute('stop')
  await qmp.execute('migrate-set-capabilities', CAPABILITIES)
  await qmp.execute('migrate', {uri: STATE.write})
  await migrated(qmp)
}

/** Waits until QEMU has written or read a machine's state. */
export async function migrated(qmp: Qmp): Promise<void> {
  while (true) {
    const {status} = (await qmp.execute('query-migrate')) as {status?: string}
    if (status === 'completed') return
    if (status === 'failed') throw new CouldNotRun('QEMU could not save or restore the snapshot')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
