import {homedir, hostname, tmpdir, userInfo} from 'node:os'
import {basename, join} from 'node:path'
import {InputError} from '../lib/errors.js'
import {projectRoot} from '../lib/project.js'
import {literally} from '../lib/text.js'

/** What only this machine and its user are called, and what a bundle says instead. */
export type Private = {paths: readonly Instead[]; names: readonly Instead[]}

type Instead = readonly [string, string]

/** Names that say nothing about a machine or a user, and are words of kernels. */
const COMMON = ['root', 'user', 'admin', 'localhost', 'localdomain', 'debian', 'linux', 'host', 'guest', 'build', 'test', 'kernel']

/**
 * What is private about this machine, and about a run.
 *
 * @param runs what its folder is and was called
 * @param words its command and whatever else may name files of the author's
 */
export function privateHere(runs: readonly string[], cache: string, words: string): Private {
  const paths: [string, string][] = [
    ...words.split(' ').flatMap((word): [string, string][] => (/^\/(?!usr\/|boot\/)\w+\/\w/.test(word) ? [[word, `.../${basename(word)}`]] : [])),
    ...runs.map((run): [string, string] => [run, '<run>']),
    ...([[cache, '<cache>'], [projectRoot, '<patchbench>'], [join(tmpdir(), 'patchbench-'), '<tmp>/patchbench-'], [homedir(), '<home>']] as [string, string][]),
  ]
  const names: [string, string][] = [[userInfo().username, '<user>'], [hostname(), '<host>'], [hostname().split('.')[0]!, '<host>']]
  return {
    // Of a path within a path, the longer one says more.
    paths: paths.filter(([path]) => path.length > 1).sort(([a], [b]) => b.length - a.length),
    names: names.filter(([name]) => name.length > 2 && !COMMON.includes(name)),
  }
}

/** A text that was made on this machine, without its paths and names. */
export function sanitise(text: string, {paths, names}: Private): string {
  const withoutPaths = paths.reduce((rest, [path, instead]) => rest.replace(pathPattern(path), instead), text)
  return names.reduce((rest, [name, instead]) => rest.replace(new RegExp(`(?<![\\w.-])${literally(name)}(?![\\w-])`, 'g'), instead), withoutPaths)
}

/** The same for all strings in data. */
export function sanitised<T>(data: T, own: Private): T {
  return JSON.parse(JSON.stringify(data), (_, value: unknown) => (typeof value === 'string' ? sanitise(value, own) : value)) as T
}

/** A command line without the folders of whoever gave it: of a path its last part remains, as `.../NAME`. */
export function sanitiseCommand(command: string, own: Private): string {
  const words = command.split(' ').map((word) => {
    const bare = word.replace(/^'|'$/g, '')
    if (/^\w+:\/\//.test(bare)) return word.replace(/\/\/[^/@]*@/, '//')
    return /^[/.~]/.test(bare) && bare.includes('/') ? `.../${basename(bare)}` : word
  })
  return sanitise(words.join(' '), own)
}

/**
 * Refuses a file of the author's that names a path of this machine: what the
 * author wrote is not changed by us.
 */
export function checkPublic(text: string, where: string, {paths}: Private): void {
  for (const [index, line] of text.split('\n').entries()) {
    // The superuser's home is called the same on every machine, the guest too.
    const found = paths.find(([path]) => path !== '/root' && pathPattern(path).test(line))
    if (found) throw new InputError(`${where}:${index + 1} names ${found[0]}, a path of this machine: take it out, run compare again and bundle that run`)
  }
}

function pathPattern(path: string): RegExp {
  // /home/me is no part of /home/mean or of sub/home/me.
  return new RegExp(`(?<![\\w.-])${literally(path)}${/\w$/.test(path) ? '(?!\\w)' : ''}`, 'g')
}
