import {chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {readListFile} from '../lib/listfile.js'
import {lastLines, run} from '../lib/process.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {joinInitramfs, packModules} from './initramfs.js'
import {describeEnding, type Limits, watch} from './monitor.js'
import {type Accelerator, type Machine, startMachine} from './qemu.js'
import {Qmp} from './qmp.js'
import {rootOf} from './root.js'

/** A machine that is reached by ssh, to try on it what is meant for hosts of the user's. */
export type TestHost = {
  /** What ssh calls it. */
  name: string
  /** An ssh_config(5) file that knows the host, its key and its port: `ssh -F CONFIG NAME`. */
  config: string
  /** On the loopback device of this machine. */
  port: number
  machine: Machine
  /** Ends the machine and removes what it left here. */
  stop: () => Promise<void>
}

export type TestHostOptions = {
  kernel: Kernel
  accelerator: Accelerator
  name?: string
  /** MiB. */
  memory?: number
  /** Packages in its root besides those of vm/host/packages. */
  packages?: readonly string[]
  /** Modules that are loaded besides those of vm/modules. */
  modules?: readonly string[]
  /** Words for the kernel's command line besides those that it gets always. */
  commandLine?: readonly string[]
  /** Lines of authorized_keys(5) that may log in besides the key that is made for it. */
  keys?: string
}

const LIMITS: Limits = {silence: 240_000, progress: 420_000, deadline: 420_000}

const COMMAND_LINE = ['console=ttyS0', 'panic=-1', 'no_timer_check', 'random.trust_cpu=on', 'mitigations=off', 'cryptomgr.notests']

/**
 * Boots a kernel with a small root (vm/host) that has an sshd on a port of the
 * loopback device. Only that port leads into it, and nothing leads out: its
 * network is QEMU's own, restricted to that.
 *
 * @throws CouldNotRun when it does not boot
 */
export async function startTestHost(context: Context, options: TestHostOptions): Promise<TestHost> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-host-'))
  let machine: Machine | undefined
  const stop = async () => {
    await machine?.kill()
    await rm(folder, {recursive: true, force: true})
  }
  try {
    const {name = 'testhost', kernel, accelerator, memory = 768, commandLine = []} = options
    await makeKeys(context, folder, name)
    const {vmlinuz, initramfs} = await bootFiles(context, options, folder)
    context.progress(`booting ${kernel.label} under ${accelerator} as a host`)
    const network = ['-netdev', 'user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:0-:22', '-device', 'virtio-net-pci,netdev=lan']
    machine = startMachine(context, {accelerator, memory, cpus: 1, virtualTime: false}, {
      folder,
      arguments: ['-kernel', vmlinuz, '-initrd', initramfs, '-append', [...COMMAND_LINE, ...commandLine].join(' '), ...network],
    })
    await booted(context, machine, kernel.label)
    await rm(initramfs)
    const port = await forwardedPort(machine)
    return {name, config: await writeConfig(folder, name, port), port, machine, stop}
  } catch (error) {
    await stop()
    context.signal.throwIfAborted()
    throw error
  }
}

/** The host's key is made here, so that known_hosts can name it before anybody has connected. */
async function makeKeys(context: Context, folder: string, name: string): Promise<void> {
  for (const key of ['host_key', 'user_key']) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `patchbench ${name}`, '-f', join(folder, key)], {signal: context.signal})
  }
}

async function bootFiles(context: Context, {kernel, packages = [], modules = [], keys = ''}: TestHostOptions, folder: string): Promise<{vmlinuz: string; initramfs: string}> {
  const root = await rootOf(context, [...(await readListFile(projectPath('vm/host/packages'))), ...packages])
  const image = await kernel.image(context)
  const tree = join(folder, 'tree')
  for (const part of ['patchbench', 'root/.ssh', 'boot']) await mkdir(join(tree, part), {recursive: true})
  const wanted = {required: ['virtio_net', ...modules], optional: await readListFile(projectPath('vm/modules'))}
  const loaded = await packModules(context, {image, release: kernel.release, modules: wanted}, tree)
  await writeFile(join(tree, 'patchbench/modules'), loaded.map((name) => `${name}\n`).join(''))
  await copyFile(join(folder, 'host_key'), join(tree, 'patchbench/host_key'))
  await writeFile(join(tree, 'root/.ssh/authorized_keys'), `${await readFile(join(folder, 'user_key.pub'), 'utf8')}${keys}\n`, {mode: 0o600})
  if (image.config) await copyFile(image.config, join(tree, 'boot', `config-${kernel.release}`))
  await copyFile(projectPath('vm/host/init'), join(tree, 'init'))
  await chmod(join(tree, 'init'), 0o755)
  const initramfs = await joinInitramfs(context, root, tree, folder)
  await rm(tree, {recursive: true})
  await rm(join(folder, 'own.cpio'))
  return {vmlinuz: image.vmlinuz, initramfs}
}

async function booted(context: Context, machine: Machine, label: string): Promise<void> {
  let console = ''
  const ending = await watch({
    machine,
    limits: LIMITS,
    onEvent: (event) => event.event === 'ready',
    onConsole: (text) => (console += text),
  })
  context.signal.throwIfAborted()
  if (ending.kind !== 'reached') throw new CouldNotRun(describeEnding(ending, `booting ${label} as a host`), lastLines(printable(console), 20))
  // Nobody else reads it, and a full pipe would stop the guest.
  machine.console.resume()
}

/** QEMU chose a free port itself: one that we had looked for could be gone by then. */
async function forwardedPort(machine: Machine): Promise<number> {
  const qmp = await Qmp.connect(machine.monitor)
  const text = String(await qmp.execute('human-monitor-command', {'command-line': 'info usernet'}))
  const port = /HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)/.exec(text)?.[1]
  if (port === undefined) throw new CouldNotRun('QEMU names no forwarded port', printable(text))
  return Number(port)
}

async function writeConfig(folder: string, name: string, port: number): Promise<string> {
  const hostKey = (await readFile(join(folder, 'host_key.pub'), 'utf8')).split(' ').slice(0, 2).join(' ')
  await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`)
  const config = join(folder, 'ssh_config')
  const lines = [
    `Host ${name}`,
    ...['HostName 127.0.0.1', `Port ${port}`, 'User root', 'IdentitiesOnly yes', `IdentityFile ${join(folder, 'user_key')}`],
    ...[`UserKnownHostsFile ${join(folder, 'known_hosts')}`, 'GlobalKnownHostsFile none', 'StrictHostKeyChecking yes'],
  ]
  await writeFile(config, `${lines.join('\n  ')}\n`)
  return config
}
