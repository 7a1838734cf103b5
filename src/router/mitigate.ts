import {createTwoFilesPatch} from 'diff'
import {readFile} from 'node:fs/promises'
import {copyToHost, readFromHost, removeFolder} from '../host/copy.js'
import {type Host, type HostOptions, onHost, scriptOnHost} from '../host/ssh.js'
import {type Context, uninterrupted} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {sha256} from '../lib/hash.js'
import {lastLines} from '../lib/process.js'
import {shellWords} from '../lib/quote.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type Form, formOf, guarded, PLAIN, statementOf, TEMPLATE} from './guard.js'
import {isBehind} from './loaded.js'

/** What is to become of a router's template: the guard for these bits of the mark, or firewall4's own statement. */
export type Wanted = {mask: number} | 'plain'

export type Change = {
  /** The statement before and after. */
  from: string
  to: string
  /** Of the template, as `diff -u` writes it; empty where the router has the statement already. */
  diff: string
  /** The line for a shell here that undoes it. */
  wayBack: string
  /** The line for a shell here that looks at what became of it. */
  look: string
  /** Whether the template has the statement already and the loaded ruleset has not: it is reloaded alone. */
  reload: boolean
  /** What the router said while it was changed; empty where nothing was. */
  log: string
  changed: boolean
}

/** How long rendering, checking and reloading may take, in ms: small routers are slow. */
const PATIENCE = 180_000

/** No template is a tenth of this. */
const LARGEST = 1 << 20

/** A script that prints what a router with firewall4 has and this one has not, a line each. */
export const LOOK = `for program in fw4 nft; do command -v $program >/dev/null || echo $program; done; test -f ${TEMPLATE} || echo ${TEMPLATE}; exit 0`

const DONE = {done: 0, untouched: 10, restored: 11, broken: 12, unloaded: 13}

/**
 * Looks at a router's flow statement, and changes it on the router by one script
 * that sees itself through (replace.sh) unless it is only to look.
 *
 * @param announce gets the diff and the way back before anything is changed
 * @throws InputError when the router is none of firewall4's, or its statement is of another form
 * @throws CouldNotRun when a step failed; says whether the router is as it was
 */
export async function changeGuard(
  context: Context,
  host: Host,
  wanted: Wanted,
  {dryRun, ssh, announce}: {dryRun: boolean; ssh: HostOptions; announce: (change: Change) => void},
): Promise<Change> {
  const template = await readTemplate(context, host)
  const text = template.toString('utf8')
  const from = presentStatement(host, formOf(text))
  const to = wanted === 'plain' ? PLAIN : guarded(wanted.mask)
  const after = text.replace(from, () => to)
  const diff = from === to ? '' : createTwoFilesPatch(`a${TEMPLATE}`, `b${TEMPLATE}`, text, after, undefined, undefined, {context: 3}).replace(/^=+\n/, '')
  const change: Change = {from, to, diff: printable(diff), wayBack: wayBack(host, ssh), look: lookAgain(host, wanted, ssh), reload: false, log: '', changed: false}
  // A change looks for itself when it has the lock. Whoever has the statement is not safe before it is loaded.
  if (dryRun || from === to) change.reload = (await isBehind(context, host, from)) && from === to
  announce(change)
  if (dryRun || (from === to && !change.reload)) return change
  return {...change, changed: true, log: await replace(context, host, {template, after, change, backup: wanted === 'plain' ? 'drop' : 'keep'})}
}

async function readTemplate(context: Context, host: Host): Promise<Buffer> {
  const {stdout} = await onHost(context, host, ['sh', '-c', LOOK])
  const missing = stdout.toString('utf8').split('\n').filter(Boolean)
  if (missing.length > 0) throw new InputError(`${host.name} is no router with firewall4: it has no ${printable(missing.join(', no ')).slice(0, 300)}`)
  return await readFromHost(context, host, TEMPLATE, {limit: LARGEST})
}

function presentStatement({name}: Host, form: Form): string {
  const statement = statementOf(form)
  if (statement !== undefined) return statement
  if (form.form === 'none') throw new InputError(`firewall4 on ${name} has no flow statement in ${TEMPLATE}: there is nothing to guard`)
  if (form.form === 'option') {
    throw new InputError(`firewall4 on ${name} has the guard as an option of its own: look at flow_offloading_mask in its 'config defaults'`)
  }
  const lines = form.form === 'other' ? form.lines : []
  throw new InputError(`the flow statement of ${name} is of a form that patchbench does not know, and is left alone: ${printable(lines.join(' / ')).slice(0, 300)}`)
}

/** Renaming the backup undoes the change at any moment; where there is none yet, nothing was changed. */
function wayBack({name}: Host, {config}: HostOptions): string {
  const there = `mv ${TEMPLATE}.before-guard ${TEMPLATE} && fw4 reload`
  return shellWords(['ssh', ...(config === undefined ? [] : ['-F', config]), name, there])
}

function lookAgain({name}: Host, wanted: Wanted, {config}: HostOptions): string {
  const [verb, options] = wanted === 'plain' ? ['rollback', []] : ['mitigate', ['--mask', `0x${wanted.mask.toString(16)}`]]
  return shellWords(['patchbench', 'router', verb, '--host', name, ...(config === undefined ? [] : ['--ssh-config', config]), ...options, '--dry-run'])
}

async function replace(
  context: Context,
  host: Host,
  {template, after, change, backup}: {template: Buffer; after: string; change: Change; backup: 'keep' | 'drop'},
): Promise<string> {
  const parts = ['loaded.sh', 'replace.sh'].map(async (name) => await readFile(projectPath(`src/router/${name}`), 'utf8'))
  const script = (await Promise.all(parts)).join('\n')
  const folder = await copyToHost(context, host, {new: Buffer.from(after)})
  context.progress(`${host.name}: checking, changing and reloading`)
  // From here on the router does it alone: half of it is worth less than all or nothing. Who presses Ctrl-C need not wait for it.
  const alone = `it goes on by itself, to the end or back, and writes ${folder}/log there`
  const left = () => context.progress(`${host.name}: ${alone}\nto look at it:\n  ${change.look}\nthe way back, at any time:\n  ${change.wayBack}`)
  context.signal.addEventListener('abort', left, {once: true})
  const args = [folder, sha256(template), change.from, change.to, backup]
  const {stdout, exitCode} = await scriptOnHost(context, host, script, args, {deadline: PATIENCE, allowedExits: 'any'}).catch((error: unknown) => {
    if (!(error instanceof CouldNotRun)) throw error
    throw new CouldNotRun(`${error.message}; ${alone}`, `the way back is\n  ${change.wayBack}`)
  }).finally(() => context.signal.removeEventListener('abort', left))
  const log = printable(stdout.toString('utf8')).trimEnd()
  // What it did is known, and is said even to one who interrupts now.
  await removeFolder(uninterrupted(context), host, folder).catch(() => {})
  if (context.signal.aborted) context.progress(`${host.name}: ${lastLines(log, 1)}`)
  context.signal.throwIfAborted()
  if (exitCode === DONE.done) return log
  if (exitCode === DONE.untouched) throw new CouldNotRun(`${host.name}: ${lastLines(log, 1)}`, log.split('\n').slice(-15, -1).join('\n'))
  if (exitCode === DONE.restored) throw new CouldNotRun(`${host.name}: a step failed, and the router is as it was`, lastLines(log, 15))
  if (exitCode === DONE.unloaded) throw new CouldNotRun(`${host.name}: the template has the statement, and the ruleset could not be loaded: try fw4 reload there`, lastLines(log, 15))
  throw new CouldNotRun(`${host.name} was left half changed: undo it by\n  ${change.wayBack}`, lastLines(log, 15))
}
