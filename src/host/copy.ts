import {cp, mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {create} from 'tar'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {type Host, onHost, type Remote, type RemoteOptions} from './ssh.js'

/** Unpacks standard input into a new folder that is root's alone, checks it, and says which it is. */
const RECEIVE = `umask 077
folder=$(mktemp -d /tmp/patchbench.XXXXXX) || exit 1
if cd "$folder" && tar -xf - && sha256sum -c checksums >&2; then echo "$folder"; else rm -rf "$folder"; exit 1; fi`

/**
 * Copies files into a new private folder on a host, and checks them there
 * against their SHA-256.
 *
 * @param files local paths, or their content as bytes, by the name that they get there
 * @returns the folder on the host; removeFolder() removes it
 */
export async function copyToHost(
  context: Context,
  host: Host,
  files: Readonly<Record<string, string | Uint8Array>>,
  options: Pick<RemoteOptions, 'deadline'> = {},
): Promise<string> {
  const {stdout} = await onHost(context, host, ['sh', '-c', RECEIVE], {deadline: 300_000, ...options, input: await pack(files)})
  const folder = stdout.toString('utf8').trim()
  // It goes into commands for that host and into messages.
  if (!/^\/tmp\/patchbench\.\w+$/.test(folder)) throw new CouldNotRun(`${host.name} did not say where it put the files`)
  return folder
}

/** Removes a folder that copyToHost() made. */
export async function removeFolder(context: Context, host: Host, folder: string): Promise<void> {
  await onHost(context, host, ['rm', '-rf', '--', folder])
}

/** What a file on a host holds, as bytes. */
export async function readFromHost(context: Context, host: Host, path: string, options: Pick<RemoteOptions, 'deadline' | 'limit'> = {}): Promise<Buffer> {
  const {stdout}: Remote = await onHost(context, host, ['cat', '--', path], options)
  return stdout
}

/** A tar archive with the files and `checksums`, as sha256sum(1) writes them. */
async function pack(files: Readonly<Record<string, string | Uint8Array>>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-copy-'))
  try {
    const sums: string[] = []
    for (const [name, source] of Object.entries(files)) {
      const path = join(folder, name)
      await mkdir(dirname(path), {recursive: true})
      await (typeof source === 'string' ? cp(source, path) : writeFile(path, source))
      sums.push(`${await sha256File(path)}  ${name}\n`)
    }
    await writeFile(join(folder, 'checksums'), sums.join(''))
    const chunks: Buffer[] = []
    for await (const chunk of create({cwd: folder, portable: true}, ['checksums', ...Object.keys(files)])) chunks.push(chunk)
    return Buffer.concat(chunks)
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}
