import {mkdir, readFile, rename, stat, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from './context.js'
import {CouldNotRun, InputError} from './errors.js'
import {withLock} from './lock.js'
import {run} from './process.js'

/** A package as the signed lists describe it. */
export type Package = {name: string; version: string; sha256: string}

/** An apt of our own: the machine's archive addresses and keys, private lists and downloads. */
export type Apt = {
  /** The sources.list that the machine's configuration amounts to, for mmdebstrap. */
  sources: string
  suite: string
  options: string[]
}

/** Debian's archive keys; where they are not, apt's own trusted keys are asked. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Where things are that the machine's own suite is too old for. */
export const NEWER_SUITE = 'unstable'

/** How long package lists count as fresh, in ms. */
const FRESH = 7 * 24 * 3600 * 1000

export type AptOptions = {
  /** Fetches the package lists anew. */
  refresh?: boolean | undefined
  /** Another suite of the machine's archive, `unstable`; the machine's own where none is named. */
  suite?: string | undefined
}

/**
 * Opens the private apt state of a suite, with lists not older than a week.
 * The system's own lists are neither read nor written, so this works for an
 * ordinary user; signatures are checked as always.
 *
 * When the archive cannot be reached, lists that are there are used, with a word about it.
 */
export async function openApt(context: Context, {refresh = false, suite: other}: AptOptions = {}): Promise<Apt> {
  const root = join(context.cache, other === undefined ? 'apt' : `apt-${other}`)
  return withLock(`${root}.lock`, context.signal, async () => {
    const own = await hostSuite()
    const apt: Apt = {suite: other ?? own, sources: join(root, 'sources.list'), options: aptOptions(root)}
    for (const folder of ['lists/partial', 'archives/partial', 'etc']) await mkdir(join(root, folder), {recursive: true})
    await writeFile(join(root, 'status'), '')
    const sources = await hostSources(context, own)
    await writeFile(apt.sources, await sourcesList(other === undefined ? sources : sourcesOf(other, sources, own)))
    if (refresh || !(await isFresh(join(root, 'updated')))) await update(context, apt, root)
    return apt
  })
}

function aptOptions(root: string): string[] {
  const settings = {
    'Dir::State': root,
    'Dir::State::lists': join(root, 'lists'),
    'Dir::State::status': join(root, 'status'),
    'Dir::Cache': root,
    'Dir::Cache::archives': join(root, 'archives'),
    'Dir::Etc::sourcelist': join(root, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'APT::Get::List-Cleanup': 'false',
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}

/** The codename in os-release(5): the suite that packages are taken from. */
async function hostSuite(): Promise<string> {
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1]
  if (!codename) throw new CouldNotRun('/etc/os-release names no VERSION_CODENAME: kernels are taken from Debian packages')
  return codename
}

type ArchiveSource = {site: string; release: string; component: string}

/** The machine's own package sources for its suite. */
async function hostSources(context: Context, suite: string): Promise<ArchiveSource[]> {
  const format = '$(SITE)\t$(RELEASE)\t$(COMPONENT)'
  const {stdout} = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {signal: context.signal})
  const sources = stdout.split('\n').flatMap((line) => {
    const [site = '', release = '', component = ''] = line.split('\t')
    return release === suite || release.startsWith(`${suite}-`) || release.startsWith(`${suite}/`) ? [{site, release, component}] : []
  })
  if (sources.length === 0) throw new CouldNotRun(`apt on this machine has no source for ${suite}: add one to /etc/apt/sources.list.d`)
  return sources
}

/** Another suite where the machine's own is; what it is asked for is all in main. */
export function sourcesOf(suite: string, sources: readonly ArchiveSource[], own: string): ArchiveSource[] {
  // A security archive, which has suites of its own, says more than the bare name.
  const archive = sources.find(({release}) => release === own)
  if (!archive) throw new CouldNotRun(`apt on this machine has no source for ${own} itself: add one to /etc/apt/sources.list.d`)
  return [{site: archive.site, release: suite, component: 'main'}]
}

/** Package sources in the one-line style of sources.list(5). */
async function sourcesList(sources: readonly ArchiveSource[]): Promise<string> {
  const keys = (await stat(KEYRING).catch(() => undefined)) ? `[signed-by=${KEYRING}] ` : ''
  const lines = sources.map(({site, release, component}) => `deb ${keys}${site} ${release} ${component}`)
  return [...new Set(lines), ''].join('\n')
}

async function isFresh(stamp: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(stamp)).mtimeMs < FRESH
  } catch {
    return false
  }
}

async function update(context: Context, apt: Apt, root: string): Promise<void> {
  context.progress(`fetching the package lists of ${apt.suite}`)
  const stamp = join(root, 'updated')
  try {
    await run('apt-get', [...apt.options, '-q', 'update', '-o', 'APT::Update::Error-Mode=any'], {signal: context.signal})
    await writeFile(`${stamp}.new`, '')
    await rename(`${stamp}.new`, stamp)
  } catch (error) {
    if (context.signal.aborted || !(error instanceof CouldNotRun)) throw error
    if (!(await stat(stamp).catch(() => undefined))) {
      throw new CouldNotRun(`the package lists of ${apt.suite} could not be fetched: is the archive reachable from here?`, error.detail)
    }
    context.progress('the archive cannot be reached: using the package lists of last time')
  }
}

/**
 * Every package whose name matches, in its newest version.
 *
 * @param prefix what all such names begin with, which spares reading the others
 */
export async function findPackages(context: Context, apt: Apt, prefix: string, pattern: RegExp): Promise<Package[]> {
  const {stdout} = await run('apt-cache', [...apt.options, 'pkgnames', prefix], {signal: context.signal})
  const names = stdout.split('\n').filter((name) => pattern.test(name))
  return names.length === 0 ? [] : describe(context, apt, names)
}

/**
 * The named packages in their newest versions, in the same order.
 *
 * @throws InputError when the archive has no such package
 */
export async function describe(context: Context, apt: Apt, names: readonly string[]): Promise<Package[]> {
  const {stdout} = await run('apt-cache', [...apt.options, 'show', '--no-all-versions', ...names], {
    signal: context.signal,
    allowedExits: [0, 100],
  })
  const found = new Map<string, Package>()
  for (const stanza of stdout.split('\n\n')) {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? ''
    found.set(field('Package'), {name: field('Package'), version: field('Version'), sha256: field('SHA256')})
  }
  return names.map((name) => {
    const one = found.get(name)
    if (!one) throw new InputError(`the archive has no package ${name}`)
    return one
  })
}

/** Downloads packages into a folder; apt checks them against the signed lists. */
export async function download(context: Context, apt: Apt, packages: readonly Package[], folder: string): Promise<void> {
  context.progress(`downloading ${packages.map(({name}) => name).join(', ')}`)
  const wanted = packages.map(({name, version}) => `${name}=${version}`)
  try {
    await run('apt-get', [...apt.options, '-q', 'download', ...wanted], {cwd: folder, signal: context.signal})
  } catch (error) {
    if (context.signal.aborted || !(error instanceof CouldNotRun) || error.message.includes('full')) throw error
    // An archive keeps a version only until a newer one is out.
    throw new CouldNotRun(`${packages[0]!.name} could not be downloaded: if the archive has a newer one, --refresh finds it`, error.detail)
  }
}

/** The newest of some packages, by Debian's version order (deb-version(7)). */
export async function newest(context: Context, packages: readonly Package[]): Promise<Package> {
  const [first, ...others] = packages
  if (!first) throw new InputError('no package to choose from')
  let best = first
  for (const other of others) {
    const {exitCode} = await run('dpkg', ['--compare-versions', other.version, 'gt', best.version], {
      signal: context.signal,
      allowedExits: [0, 1],
    })
    if (exitCode === 0) best = other
  }
  return best
}
