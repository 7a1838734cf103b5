import {posix} from 'node:path'
import {git} from '../lib/git.js'
import {checkOut} from './checkout.js'
import {entriesOf, readBlob} from './tree.js'

const SELFTESTS = 'tools/testing/selftests'

/** The tests of one folder of tools/testing/selftests, by their files' names. */
export type Collection = {name: string; tests: string[]}

/**
 * The selftests that a series adds or changes: files that their folder's
 * Makefile names in TEST_PROGS (Documentation/dev-tools/kselftest.rst).
 * Compiled ones are none of them.
 *
 * @param paths what the series touches
 */
export async function selftestsOf(signal: AbortSignal, directory: string, commit: string, paths: readonly string[]): Promise<Collection[]> {
  const own = paths.filter((path) => path.startsWith(`${SELFTESTS}/`))
  const folders = [...new Set(own.map((path) => posix.dirname(path)))]
  const makefiles = await entriesOf(signal, directory, commit, folders.map((folder) => `${folder}/Makefile`))
  const collections: Collection[] = []
  for (const folder of folders) {
    const makefile = makefiles.get(`${folder}/Makefile`)
    if (!makefile) continue
    const programs = testPrograms(await readBlob(signal, directory, makefile.oid))
    const tests = own.filter((path) => posix.dirname(path) === folder).map((path) => posix.basename(path))
    const found = tests.filter((test) => programs.includes(test))
    if (found.length > 0) collections.push({name: posix.relative(SELFTESTS, folder), tests: found.sort()})
  }
  return collections
}

/** The words of a Makefile's TEST_PROGS. */
export function testPrograms(makefile: string): string[] {
  const lines = makefile.replaceAll(/\\\n/g, ' ').matchAll(/^\s*TEST_PROGS\s*[:+?]?=([^#\n]*)/gm)
  return [...lines].flatMap(([, words = '']) => words.split(/\s+/).filter(Boolean))
}

/**
 * Writes what the tests of these collections may need: the scripts and data of
 * their top folders (a collection sources the library of the one above it) and
 * kselftest's own runner. Sources in C are left out, nothing is compiled.
 */
export async function checkOutSelftests(signal: AbortSignal, directory: string, commit: string, collections: readonly Collection[], into: string): Promise<void> {
  const tops = new Set(['kselftest', ...collections.map(({name}) => name.split('/')[0]!)])
  const {stdout} = await git(directory, ['ls-tree', '-r', '-z', '--full-tree', '--name-only', commit, '--', ...[...tops].map((top) => `${SELFTESTS}/${top}`)], {signal})
  const paths = stdout.split('\0').filter((path) => path && !/\.[chS]$/.test(path))
  await checkOut(signal, directory, commit, into, paths)
}
