import {access, constants, mkdir, readFile, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {run} from '../lib/process.js'
import {type Accelerator, QEMU, qemuIdentity} from './qemu.js'

export type Choice = {
  accelerator: Accelerator
  /** Why this one, for the user. */
  why: string
}

/** A probe under KVM is given this long, in s; a kernel that runs there panics in about one. */
const PROBE_SECONDS = 10

/**
 * KVM if a probe guest really ran under it, else TCG. That /dev/kvm can be
 * opened, and even that a machine can be created, does not say that one runs.
 * The result is kept until the host boots anew or its QEMU changes.
 */
export async function chooseAccelerator(context: Context, wanted: Accelerator | 'auto', kernel: Kernel): Promise<Choice> {
  if (wanted === 'tcg') return {accelerator: 'tcg', why: 'asked for'}
  const probed = await probe(context, kernel)
  if (wanted === 'kvm' && probed.accelerator !== 'kvm') throw new InputError(`--accel kvm: ${probed.why}`)
  return probed
}

async function probe(context: Context, kernel: Kernel): Promise<Choice> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    return {accelerator: 'tcg', why: '/dev/kvm is missing or not ours to open'}
  }
  const memory = join(context.cache, 'accelerator.json')
  const host = `${(await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()} ${await qemuIdentity()}`
  const known = await recall(memory, host)
  if (known) return known
  const choice = await runProbe(context, kernel)
  await mkdir(dirname(memory), {recursive: true})
  await writeFile(memory, JSON.stringify({host, choice}))
  return choice
}

async function recall(memory: string, host: string): Promise<Choice | undefined> {
  try {
    const known = JSON.parse(await readFile(memory, 'utf8')) as {host: string; choice: Choice}
    return known.host === host ? known.choice : undefined
  } catch {
    return undefined
  }
}

/** Boots the kernel without a root: where KVM works, it gets as far as to miss one and panics. */
async function runProbe(context: Context, kernel: Kernel): Promise<Choice> {
  context.progress('probing KVM with a small guest')
  const {vmlinuz} = await kernel.image(context)
  const machine = ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-machine', 'q35,accel=kvm', '-cpu', 'host']
  const boot = ['-m', '256M', '-serial', 'stdio', '-kernel', vmlinuz, '-append', 'console=ttyS0 panic=-1']
  const {all, exitCode} = await run('timeout', ['--signal=KILL', String(PROBE_SECONDS), QEMU, ...machine, ...boot], {
    signal: context.signal,
    allowedExits: 'any',
  })
  if (all.includes('VFS: Unable to mount root fs') || all.includes('No working init found')) {
    return {accelerator: 'kvm', why: 'a probe guest ran under KVM'}
  }
  const how = all.trim() === '' || exitCode === 137 ? 'hung' : `died: ${all.trim().split('\n')[0]}`
  return {accelerator: 'tcg', why: `/dev/kvm is there, but a probe guest ${how}`}
}
