import {resolve} from 'node:path'
import {type HostOptions, withHost} from '../host/ssh.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {projectVersion} from '../lib/project.js'
import {runTasks} from '../lib/tasks.js'
import {plainTable} from '../report/table.js'
import {checkOutput, collect, isDevice} from '../router/collect.js'
import {type Change, changeGuard, type Wanted} from '../router/mitigate.js'
import {refuseIdle} from './options.js'

type RouterOptions = {host: string; sshConfig?: string; json?: boolean}

export type CollectCommandOptions = RouterOptions & {output?: string; capture: number; interface?: string[]; maskAddresses?: boolean}

/** `patchbench router collect`: what a report about flow offloading needs, in one archive. */
export async function collectCommand(context: Context, options: CollectCommandOptions): Promise<{text: string; exit: number}> {
  const {host: name, capture, interface: devices, maskAddresses = false} = options
  if (capture === 0) refuseIdle({interface: devices}, 'is about capturing packets, and --capture 0 leaves that out: take one of them')
  const odd = devices?.find((device) => !isDevice(device))
  if (odd !== undefined) throw new InputError(`--interface: '${odd}' is no name of a network device`)
  const output = options.output ?? archiveName(name)
  await checkOutput(output)
  const {manifest, archive, sha256} = await withHost(context, name, sshOf(options), async (host) => {
    const task = async (own: Context) =>
      await collect(own, host, {output: resolve(output), seconds: capture, devices, maskAddresses, version: `patchbench ${projectVersion()}`})
    return (await runTasks(context, [{title: `gathering from ${name}`, run: task}]))[0]!
  })
  const {files, missing, masked} = manifest
  if (options.json) return {text: JSON.stringify({schema: 1, host: name, archive, sha256, files, missing, masked}, null, 2), exit: EXIT.ok}
  const lines = [
    `${archive}  sha256:${sha256}`,
    `${files.length} files; masked: ${masked.secrets} secrets, ${maskAddresses ? `${masked.addresses} public addresses` : 'no addresses (--mask-addresses)'}. Read it before you give it away.`,
    ...(missing.length > 0 ? ['', plainTable(['not gathered', 'why'], missing.map(({file, why}) => [file, why.split('\n')[0]!]))] : []),
  ]
  return {text: lines.join('\n'), exit: EXIT.ok}
}

export type MitigateCommandOptions = RouterOptions & {mask?: number; dryRun?: boolean}

/** `patchbench router mitigate`: the guard on firewall4's flow statement, or what it would change. */
export async function mitigateCommand(context: Context, options: MitigateCommandOptions, say: (text: string) => void): Promise<{text: string; exit: number}> {
  return await guardCommand(context, options, {mask: options.mask ?? 0xffffffff}, say)
}

/** `patchbench router rollback`: firewall4's own statement again. */
export async function rollbackCommand(context: Context, options: MitigateCommandOptions, say: (text: string) => void): Promise<{text: string; exit: number}> {
  return await guardCommand(context, options, 'plain', say)
}

async function guardCommand(
  context: Context,
  {host: name, dryRun = false, json = false, ...options}: MitigateCommandOptions,
  wanted: Wanted,
  say: (text: string) => void,
): Promise<{text: string; exit: number}> {
  const ssh = sshOf(options)
  const announce = (change: Change) => {
    if (change.diff === '' && !change.reload) return
    if (json) return dryRun ? undefined : context.progress(`the way back, at any time: ${change.wayBack}`)
    // Said before anything is changed: whoever is cut off in the middle has it on the screen.
    const what = change.reload ? `the template of ${name} has the statement already, and the loaded ruleset has not` : change.diff.trimEnd()
    say(dryRun ? what : `${what}\n\nThe way back, at any time:\n  ${change.wayBack}\n`)
  }
  const change = await withHost(context, name, ssh, async (host) => await changeGuard(context, host, wanted, {dryRun, ssh, announce}))
  if (json) return {text: JSON.stringify({schema: 1, host: name, dryRun, ...change}, null, 2), exit: EXIT.ok}
  return {text: outcome(name, change, wanted, dryRun), exit: EXIT.ok}
}

function outcome(name: string, {diff, reload, changed, log}: Change, wanted: Wanted, dryRun: boolean): string {
  const what = wanted === 'plain' ? "firewall4's own flow statement" : 'the guard'
  if (diff === '' && !reload) return `${name} has ${what} already; nothing was changed`
  if (dryRun && reload) return `\nThe firewall would be reloaded (fw4 reload); nothing was changed.`
  if (dryRun) return `\nThis would be changed; nothing was.`
  if (!changed) return `${name} was not changed`
  const hint = wanted === 'plain' ? '' : "\nAn upgrade of firewall4 brings its own template back: look again after it."
  return `${log}\n${name} has ${what}.${hint}`
}

function sshOf({sshConfig}: {sshConfig?: string}): HostOptions {
  return {config: sshConfig === undefined ? undefined : resolve(sshConfig)}
}

function archiveName(host: string): string {
  const name = host.replace(/^ssh:\/\//, '').replace(/^.*@/, '').replaceAll(/[^\w.-]+/g, '-')
  const date = new Date().toISOString().replaceAll(/[-:]/g, '').replace('T', '-').slice(0, 15)
  return `router-${name}-${date}.tar.gz`
}
