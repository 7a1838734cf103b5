import {git} from '../lib/git.js'

/** Those of some options (without CONFIG_) that a Kconfig file of a commit has, for whatever architecture. */
export async function optionsOf(signal: AbortSignal, {directory, commit}: {directory: string; commit: string}, names: readonly string[]): Promise<Set<string>> {
  const {stdout: files} = await git(directory, ['ls-tree', '-r', '-z', '--name-only', commit], {signal})
  // kconfig's own tests make up names.
  const kconfigs = files.split('\0').filter((path) => /(?:^|\/)Kconfig[^/]*$/.test(path) && !path.startsWith('scripts/kconfig/tests/'))
  const found = new Set<string>()
  for (let at = 0; at < kconfigs.length; at += 500) {
    const words = ['grep', '-h', '-E', `^[[:space:]]*(menu)?config (${names.join('|')})[[:space:]]*$`, commit, '--', ...kconfigs.slice(at, at + 500)]
    const {stdout} = await git(directory, words, {signal, allowedExits: [0, 1]})
    for (const [, name = ''] of stdout.matchAll(/config (\w+)/g)) found.add(name)
  }
  return found
}
