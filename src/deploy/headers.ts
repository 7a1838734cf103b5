import {readFile, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Host, onHost, scriptOnHost} from '../host/ssh.js'
import {type Kernel, lineOf} from '../kernel/kernel.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {keyOf, sha256} from '../lib/hash.js'
import {run} from '../lib/process.js'
import {printable} from '../lib/text.js'

/** The folder that the host's own modules are built in, and what tells one such folder from another. */
const IDENTIFY = `cd -P "/lib/modules/$(uname -r)/build" && [ -f Module.symvers ] && [ -f Makefile ] || exit 3
pwd -P
for file in Module.symvers Makefile .config include/config/auto.conf include/generated/utsrelease.h; do [ ! -f $file ] || sha256sum $file; done`

/** That folder, and those that its Makefile includes by their absolute names, as Debian's does; links as what they lead to. */
const PACK = `cd -P "/lib/modules/$(uname -r)/build" || exit 3
build=$(pwd -P)
cd / && tar -chf - "\${build#/}" $(sed -n 's|^include /\\(usr/src/[A-Za-z0-9.+_-]*\\)/Makefile.*|\\1|p' "$build/Makefile") | gzip`

/** Packed, in bytes; Debian's are a tenth of this. */
const LARGEST = 400 << 20

/**
 * The kernel that a host runs, with the headers that are installed there.
 *
 * @returns undefined when the host has none
 */
export async function kernelFromHost(context: Context, host: Host, release: string): Promise<Kernel | undefined> {
  const {exitCode, stdout} = await scriptOnHost(context, host, IDENTIFY, [], {allowedExits: [0, 3]})
  if (exitCode !== 0) return undefined
  const said = printable(stdout.toString('utf8'))
  const build = said.split('\n')[0]!
  if (!/^(\/[\w.+-]+)+$/.test(build) || build.includes('/..')) throw new CouldNotRun(`${host.name}: the folder of its headers has an odd name: ${build}`)
  const inputs = {release, files: sha256(said), steps: 1}
  const key = keyOf(inputs)
  const headers = async (own: Context) => {
    const {directory} = await artefact(own, 'headers', key, inputs, async (into) => await fetchHeaders(own, host, build, into))
    return {build: join(directory, build), prefix: directory}
  }
  return {...kernelOfName(release), key, origin: {headers: `of the host, sha256:${inputs.files}`}, headers}
}

/** A kernel that a host runs, and that nothing is here of but its name. */
export function kernelOfName(release: string): Kernel {
  if (!/^[\w.+~-]+$/.test(release)) throw new CouldNotRun(`'${printable(release)}' is no name of a kernel`)
  const none = (what: string) => async () => await Promise.reject(new InputError(`of the kernel ${release} there is no ${what} here`))
  return {imageless: true, label: release, line: lineOf(release), release, key: keyOf({release}), origin: {}, image: none('image'), headers: none('headers')}
}

async function fetchHeaders(context: Context, host: Host, build: string, into: string): Promise<void> {
  context.progress(`${host.name}: fetching ${build}`)
  const {stdout} = await onHost(context, host, ['sh', '-c', PACK], {deadline: 900_000, limit: LARGEST})
  const archive = join(into, 'headers.tar.gz')
  await writeFile(archive, stdout)
  // GNU tar takes no path that leads out of the folder, and follows no link that it made itself.
  await run('tar', ['-xzf', archive, '-C', into, '--no-same-owner', '--no-same-permissions'], {signal: context.signal})
  await rm(archive)
  const makefile = join(into, build, 'Makefile')
  const text = await readFile(makefile, 'utf8')
  await writeFile(makefile, text.replace('include /usr/src/', 'include $(dir $(lastword $(MAKEFILE_LIST)))../'))
}
