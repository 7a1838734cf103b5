import {chmod, mkdir, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Apt, describe, download, findPackages, newest, openApt, type Package} from '../lib/apt.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {keyOf} from '../lib/hash.js'
import {remembered} from '../lib/memory.js'
import {lastLines, run} from '../lib/process.js'
import {literally} from '../lib/text.js'
import {type Kernel, type KernelHeaders, type KernelImage, lineOf} from './kernel.js'

type Resolved = {release: string; version: string; image: Package; headers: Package[]}

/**
 * The newest stock Debian kernel of a line (`6.12`), or an exact version
 * (`6.12.117`), from the machine's own package archive. Nothing is installed.
 *
 * @throws InputError when the archive has no kernel of that line
 */
export async function packagedKernel(context: Context, wanted: string, refresh = false): Promise<Kernel> {
  if (!/^\d+\.\d+(\.\d+)?$/.test(wanted)) {
    throw new InputError(`'${wanted}' is no kernel line: give one like 6.12, or a version like 6.12.117`)
  }
  const resolved = await remembered(context, join('kernel', `newest-${wanted}`), refresh, async () => {
    return await lookUp(context, await openApt(context, {refresh}), wanted)
  })
  return kernelOf(resolved)
}

/** The stock Debian kernel that `uname -r` calls this; undefined where the machine's package archive has none. */
export async function kernelOfRelease(context: Context, release: string): Promise<Kernel | undefined> {
  // It comes from a host.
  if (!/^[a-z0-9][\w.+~-]*$/.test(release)) return undefined
  const resolved = await remembered(context, join('kernel', `release-${release}`), false, async () => {
    const apt = await openApt(context)
    const names = [`linux-image-${release}-unsigned`, `linux-image-${release}`]
    const pattern = new RegExp(`^(?:${names.map(literally).join('|')})$`)
    const images = await findPackages(context, apt, `linux-image-${release}`, pattern)
    const image = names.map((name) => images.find((one) => one.name === name)).find((one) => one !== undefined)
    return image && (await withHeaders(context, apt, image))
  })
  return resolved && kernelOf(resolved)
}

function kernelOf(resolved: Resolved): Kernel {
  const {release, version, image, headers} = resolved
  const upstream = version.replace(/-.*$/, '')
  const key = keyOf({image, headers})
  return {
    label: `debian ${upstream}`,
    line: lineOf(upstream),
    release,
    key,
    origin: Object.fromEntries([image, ...headers].map((one) => [one.name, `${one.version} sha256:${one.sha256}`])),
    image: async (own) => await unpackImage(own, resolved),
    headers: async (own) => await unpackHeaders(own, resolved),
  }
}

async function lookUp(context: Context, apt: Apt, wanted: string): Promise<Resolved> {
  const images = await findPackages(context, apt, 'linux-image-', /^linux-image-\d[\w.+]*(-\d+)?-amd64-unsigned$/)
  const ofLine = images.filter(({version}) => version.startsWith(`${wanted}.`) || version.startsWith(`${wanted}-`))
  if (ofLine.length === 0) {
    const lines = [...new Set(images.map(({version}) => lineOf(version)))].sort().join(', ')
    throw new InputError(`${apt.suite} has no stock kernel ${wanted}; it has ${lines || 'none'} (see 'patchbench doctor')`)
  }
  return await withHeaders(context, apt, await newest(context, ofLine))
}

async function withHeaders(context: Context, apt: Apt, image: Package): Promise<Resolved> {
  const release = image.name.replace(/^linux-image-/, '').replace(/-unsigned$/, '')
  const [flavour] = await describe(context, apt, [`linux-headers-${release}`])
  const names = await dependencies(context, apt, flavour!)
  return {release, version: image.version, image, headers: [flavour!, ...(await describe(context, apt, names))]}
}

/** The -common and kbuild packages that a headers package needs. */
async function dependencies(context: Context, apt: Apt, headers: Package): Promise<string[]> {
  const {stdout} = await run('apt-cache', [...apt.options, 'show', `${headers.name}=${headers.version}`], {signal: context.signal})
  const depends = /^Depends: (.*)$/m.exec(stdout)?.[1] ?? ''
  return [...depends.matchAll(/linux-(?:headers-[^\s,]+-common|kbuild-[^\s,]+)/g)].map(([name]) => name)
}

async function unpackImage(context: Context, {release, image}: Resolved): Promise<KernelImage> {
  const {directory} = await artefact(context, 'image', keyOf({image, steps: 1}), {image}, async (into) => {
    await fetchAndUnpack(context, [image], into)
    await run('depmod', ['--basedir', into, release], {signal: context.signal})
  })
  return {
    vmlinuz: join(directory, 'boot', `vmlinuz-${release}`),
    modules: join(directory, 'lib/modules', release),
    config: join(directory, 'boot', `config-${release}`),
  }
}

async function unpackHeaders(context: Context, {release, headers}: Resolved): Promise<KernelHeaders> {
  const key = keyOf({headers, steps: 1})
  const {directory} = await artefact(context, 'headers', key, {headers}, async (into) => {
    await fetchAndUnpack(context, headers, into)
    const build = join(into, 'usr/src', `linux-headers-${release}`)
    // The one absolute path in the package, which would have to be installed.
    const makefile = await readFile(join(build, 'Makefile'), 'utf8')
    const relative = makefile.replace('include /usr/src/', 'include $(dir $(lastword $(MAKEFILE_LIST)))../')
    if (relative === makefile) throw new CouldNotRun(`the Makefile of linux-headers-${release} is not as expected`, lastLines(makefile, 3))
    await writeFile(join(build, 'Makefile'), relative)
  })
  return {build: join(directory, 'usr/src', `linux-headers-${release}`), prefix: directory}
}

async function fetchAndUnpack(context: Context, packages: readonly Package[], into: string): Promise<void> {
  const apt = await openApt(context)
  const archives = join(into, 'archives')
  await mkdir(archives)
  await chmod(archives, 0o755)
  await download(context, apt, packages, archives)
  context.progress(`unpacking ${packages.map(({name}) => name).join(', ')}`)
  for (const file of await readdir(archives)) {
    await run('dpkg-deb', ['--extract', join(archives, file), into], {signal: context.signal})
  }
  await rm(archives, {recursive: true})
}
