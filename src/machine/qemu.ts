import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {stat} from 'node:fs/promises'
import {type Duplex} from 'node:stream'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {findProgram} from '../lib/hostpath.js'
import {dyingWithUs, endGroup} from '../lib/process.js'

export const QEMU = 'qemu-system-x86_64'

export type Accelerator = 'kvm' | 'tcg'

/** What a machine is, apart from what boots in it: a snapshot only fits the machine that it was taken of. */
export type Hardware = {
  accelerator: Accelerator
  /** MiB. */
  memory: number
  cpus: number
  /** The guest's clock is the count of its instructions, and its sleeping costs nothing (TCG only). */
  virtualTime: boolean
}

/** A running QEMU and its channels. */
export type Machine = {
  /** The serial console: kernel messages, and an interactive shell. */
  console: Duplex
  /** Guest to host: JSON lines of the agent. */
  protocol: Duplex
  /** Host to guest: the job. */
  inward: Duplex
  /** Guest to host: the evidence. */
  outward: Duplex
  monitor: Duplex
  /** Resolves when the process has ended. */
  ended: Promise<{how: string}>
  kill: () => Promise<void>
}

/** What a machine starts from: the folder of a snapshot, being made or finished. */
export type Start = {
  /** Holds `ram`, the machine's memory, and `state`, everything else. QEMU runs in it. */
  folder: string
  /** Whether the guest writes into the memory file, or keeps its changes to itself; without it there is no such file. */
  shared?: boolean
  arguments: readonly string[]
}

const CHANNELS = ['console', 'protocol', 'in', 'out', 'monitor']
const FIRST_FD = 3

/** Where QEMU writes and reads a machine's state: constant shell words, the folder is QEMU's own. */
export const STATE = {write: 'exec:cat >state', read: 'exec:cat state'} as const

/**
 * Starts QEMU with its channels on inherited socket pairs: no socket file to
 * clean up, none that another process could connect to.
 *
 * There is no disk and no file system of the host in the machine, and no network
 * but that of a test host; a cell's memory is a file, so that sessions share a
 * snapshot's pages until they write to them.
 */
export function startMachine(context: Context, hardware: Hardware, start: Start): Machine {
  const [file, args] = dyingWithUs('KILL', QEMU, [
    ...machineArguments(hardware, start),
    ...CHANNELS.flatMap((name, index) => ['-chardev', `socket,id=${name},fd=${FIRST_FD + index}`]),
    ...['-serial', 'chardev:console', '-mon', 'chardev=monitor,mode=control', '-device', 'virtio-serial-pci'],
    ...['protocol', 'in', 'out'].flatMap((name) => ['-device', `virtserialport,chardev=${name},name=${name}`]),
    ...start.arguments,
  ])
  // Not execa: a machine's channels are raw duplex sockets, not output to collect.
  const child = spawn(file, args, {
    stdio: ['ignore', 'ignore', 'pipe', ...CHANNELS.map(() => 'pipe' as const)],
    cwd: start.folder,
    detached: true,
  })
  const [console, protocol, inward, outward, monitor] = child.stdio.slice(FIRST_FD) as Duplex[]
  // A channel that breaks shows as the end of its stream, which the monitor watches.
  for (const channel of [console, protocol, inward, outward, monitor]) channel!.on('error', () => {})
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  const ended = howItEnded(child, () => said)
  const kill = async () => {
    await endGroup(child.pid, 500)
    await ended
  }
  const stop = () => void kill()
  context.signal.addEventListener('abort', stop, {once: true})
  void ended.then(() => context.signal.removeEventListener('abort', stop))
  return {console: console!, protocol: protocol!, inward: inward!, outward: outward!, monitor: monitor!, ended, kill}
}

async function howItEnded(child: ChildProcess, said: () => string): Promise<{how: string}> {
  try {
    const silent = once(child.stderr!, 'close')
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    await silent
    const how = signal ? `by ${signal}` : `with exit code ${code}`
    const words = said().trim()
    return {how: words && !words.includes('terminating on signal') ? `${how}: ${words}` : how}
  } catch (error) {
    return {how: `before it started: ${String(error)}`}
  }
}

function machineArguments(hardware: Hardware, start: Start): string[] {
  const {accelerator, memory, cpus, virtualTime} = hardware
  const ram = `memory-backend-file,id=ram,size=${memory}M,mem-path=ram,share=${start.shared ? 'on' : 'off'}`
  const asFile = start.shared !== undefined
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', `q35,accel=${accelerator}${asFile ? ',memory-backend=ram' : ''}`, '-m', `${memory}M`, ...(asFile ? ['-object', ram] : [])],
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'max', '-smp', String(cpus)],
    // A restored guest must not repeat the random numbers of its siblings.
    ...['-device', 'vmgenid,guid=auto'],
    ...(virtualTime ? ['-icount', 'shift=1,sleep=off'] : []),
  ]
}

/** Identifies the QEMU on this host: another build may not read its snapshots. */
export async function qemuIdentity(): Promise<string> {
  const path = await findProgram(QEMU)
  if (!path) throw new CouldNotRun(`${QEMU} is not installed: apt-get install qemu-system-x86`)
  const {size, mtimeMs} = await stat(path)
  return `${size}-${mtimeMs}`
}
