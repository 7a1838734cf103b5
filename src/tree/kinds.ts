import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {entriesOf, readBlob} from './tree.js'

export type Kind = 'linux' | 'firewall4'

/** What a commit is known by; the line is linux's only. */
export type Known = {version: string; line: string}

/** What is in a tree of the kind and in hardly any other. */
const MARKS: Record<Kind, readonly string[]> = {
  linux: ['Makefile', 'Kbuild'],
  firewall4: ['root/usr/share/firewall4'],
}

/**
 * The version of a commit that has a tree of a kind.
 *
 * @param where how the tree is named to the user
 * @throws InputError when it has no such tree
 */
export async function recognise(signal: AbortSignal, kind: Kind, directory: string, commit: string, where: string): Promise<Known> {
  const entries = await entriesOf(signal, directory, commit, MARKS[kind])
  const missing = MARKS[kind].find((path) => !entries.has(path))
  if (missing !== undefined) throw new InputError(`${where} is no tree of ${kind}: it has no ${missing} at its top`)
  if (kind === 'firewall4') {
    const {stdout} = await git(directory, ['describe', '--always', '--abbrev=12', commit], {signal})
    return {version: stdout.trim(), line: ''}
  }
  const known = linuxVersion(await readBlob(signal, directory, entries.get('Makefile')!.oid))
  if (!known) throw new InputError(`${where} is no tree of linux: its Makefile has no VERSION, PATCHLEVEL and SUBLEVEL`)
  return known
}

/** What the top Makefile calls KERNELVERSION. */
export function linuxVersion(makefile: string): Known | undefined {
  const value = (name: string, pattern: string) => new RegExp(`^${name}[ \\t]*=[ \\t]*(${pattern})[ \\t]*$`, 'm').exec(makefile)?.[1]
  const [version, patchlevel, sublevel] = ['VERSION', 'PATCHLEVEL', 'SUBLEVEL'].map((name) => value(name, '\\d+'))
  if (!version || !patchlevel || !sublevel) return undefined
  const extra = value('EXTRAVERSION', '[\\w.+~-]*') ?? ''
  return {version: `${version}.${patchlevel}.${sublevel}${extra}`, line: `${version}.${patchlevel}`}
}
