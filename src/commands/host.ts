import {readFile} from 'node:fs/promises'
import {resolve} from 'node:path'
import {loadCase} from '../case/case.js'
import {shellWords} from '../lib/quote.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT, InputError} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator} from '../machine/qemu.js'
import {startTestHost, type TestHost} from '../machine/testhost.js'
import {chosenKernels, type KernelOptions, onlyOne} from './kernels.js'
import {refuseIdle} from './options.js'

export type HostCommandOptions = KernelOptions & {cases?: string; key?: string; accel: Accelerator | 'auto'; json?: boolean}

/**
 * `patchbench host [CASE]`: a test host that is there until Ctrl-C.
 *
 * @param say takes what standard output gets as soon as the host can be reached
 */
export async function hostCommand(context: Context, name: string | undefined, options: HostCommandOptions, say: (text: string) => void): Promise<number> {
  if (name === undefined) refuseIdle({cases: options.cases}, 'is about a case, and none is named')
  const modules = name === undefined ? [] : (await loadCase(name, options.cases && resolve(options.cases))).reproducer.modules
  const keys = options.key === undefined ? '' : await publicKeys(options.key)
  const kernel = onlyOne(await chosenKernels(context, options))
  const {accelerator} = await chooseAccelerator(context, options.accel, kernel)
  const [host] = await runTasks(context, [
    {title: `a host with ${kernel.label}`, run: async (own) => await startTestHost(own, {kernel, accelerator, modules, keys})},
  ])
  try {
    say(options.json ? hostJson(host!, kernel) : hostText(host!, kernel, options.key !== undefined))
    const {how} = await host!.machine.ended
    context.signal.throwIfAborted()
    if (how !== 'with exit code 0') throw new CouldNotRun(`the host ended ${how}`)
    return EXIT.ok
  } finally {
    await host!.stop()
  }
}

function hostJson({name, config, port}: TestHost, {label, release}: Kernel): string {
  return JSON.stringify({schema: 1, host: name, config, port, ssh: ['ssh', '-F', config, name], kernel: label, release})
}

function hostText({name, config, port}: TestHost, {label}: Kernel, ownKey: boolean): string {
  return [
    `${label} is up. Log in as root by`,
    `  ${shellWords(['ssh', '-F', config, name])}`,
    ...(ownKey ? ['or with your key by', `  ssh -p ${port} root@127.0.0.1`] : []),
    'and name it to patchbench by',
    `  ${shellWords(['--host', name, '--ssh-config', config])}`,
    'Nothing of it is kept. Ctrl-C ends it.',
  ].join('\n')
}

async function publicKeys(path: string): Promise<string> {
  const text = await readFile(path, 'utf8')
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length > 0 && lines.every((line) => /^(ssh|ecdsa|sk-ssh)-\S+ [\w+/=]+/.test(line))) return `${lines.join('\n')}\n`
  throw new InputError(`--key ${path} is no public key of ssh: name a file like id_ed25519.pub`)
}
