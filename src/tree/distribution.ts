import {mkdir, readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {type Apt, download, findPackages, NEWER_SUITE, openApt, type Package} from '../lib/apt.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {remembered} from '../lib/memory.js'
import {run} from '../lib/process.js'
import {type Pristine, pristine} from './pristine.js'
import {unpackTarball} from './tarball.js'

type Chosen = {package: Package; /** Undefined: the machine's own. */ suite?: string | undefined}

/**
 * The distribution's source of a kernel line (`6.12`), from the machine's own
 * suite or a newer one of the same archive. Nothing is installed.
 *
 * @throws InputError when the archive has no source of that line
 */
export async function packagedSource(context: Context, line: string, refresh: boolean): Promise<Pristine & {package: Package}> {
  if (!/^\d+\.\d+$/.test(line)) throw new InputError(`'${line}' is no kernel line: give one like 6.12`)
  const chosen = await remembered(context, join('source', `newest-${line}`), refresh, async () => await choose(context, line, refresh))
  const made = await pristine(context, chosen.package, `linux ${chosen.package.version}`, async (into) => await unpack(context, chosen, into))
  return {...made, package: chosen.package}
}

async function choose(context: Context, line: string, refresh: boolean): Promise<Chosen> {
  const lines: string[] = []
  for (const suite of [undefined, NEWER_SUITE]) {
    const found = await sources(context, await openApt(context, {refresh, suite}))
    const one = found.find(({name}) => name === `linux-source-${line}`)
    if (one) return {package: one, suite}
    lines.push(...found.map(({name}) => name.replace('linux-source-', '')))
  }
  const there = [...new Set(lines)].sort((a, b) => a.localeCompare(b, 'en', {numeric: true})).join(', ')
  throw new InputError(`the archive has no source of linux ${line}: it has ${there || 'none'}; a clone, a URL or a tarball can be named instead`)
}

async function sources(context: Context, apt: Apt): Promise<Package[]> {
  return await findPackages(context, apt, 'linux-source-', /^linux-source-\d+\.\d+$/)
}

/** The tree of the tarball that the package holds. */
async function unpack(context: Context, {package: one, suite}: Chosen, into: string): Promise<string> {
  const [archives, contents] = [join(into, 'archives'), join(into, 'contents')]
  for (const folder of [archives, contents]) await mkdir(folder)
  await download(context, await openApt(context, {suite}), [one], archives)
  context.progress(`unpacking ${one.name} ${one.version}`)
  const [archive = ''] = await readdir(archives)
  await run('dpkg-deb', ['--extract', join(archives, archive), contents], {signal: context.signal})
  return await unpackTarball(context.signal, join(contents, 'usr/src', `${one.name}.tar.xz`), into)
}
