import {cp, mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {create} from 'tar'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {type Host, onHost, type Remote, type RemoteOptions} from './ssh.js'

/** Unpacks standard input into a new folder that is root's alone, and checks it; no signal of a lost connection stops it half-way. */
const RECEIVE = `trap '' HUP INT TERM PIPE
umask 077
folder=$(mktemp -d /tmp/patchbench.XXXXXX) || exit 1
cd "$folder" && tar -xf - && sha256sum -c checksums >&2 || { rm -rf "$folder"; exit 1; }
`

const SAY = `${RECEIVE}echo "$folder"`

/** The script that came with the files is the same process: between the copy and the script's beginning nothing can be lost. */
const RUN = `${RECEIVE}cd / && script=$1 verb=$2 && shift 2 && exec sh "$folder/$script" "$verb" "$folder" "$@" </dev/null`

/** The files did not arrive on a host as they were; nothing is left of them there. */
export class NotTaken extends CouldNotRun {}

/** How long a copy may take, in ms. */
const COPYING = 300_000

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
  const {stdout} = await onHost(context, host, ['sh', '-c', SAY], {deadline: COPYING, ...options, input: await pack(files)})
  const folder = stdout.toString('utf8').trim()
  // It goes into commands for that host and into messages.
  if (!/^\/tmp\/patchbench\.\w+$/.test(folder)) throw new CouldNotRun(`${host.name} did not say where it put the files`)
  return folder
}

/**
 * Copies files as copyToHost() does, and runs one of them there as
 * `sh SCRIPT VERB FOLDER ARGUMENT...` when all have arrived. The folder is the script's, which
 * removes it, whatever becomes of the connection; it gets no signal of that.
 *
 * @param words the script's name among the files, its verb, and what comes after the folder
 * @param options the deadline is the script's; it does not exit with 1
 * @throws NotTaken when the files did not arrive
 */
export async function runCopied(
  context: Context,
  host: Host,
  files: Readonly<Record<string, string | Uint8Array>>,
  words: readonly [script: string, verb: string, ...rest: string[]],
  {deadline, allowedExits = [0], ...options}: {deadline: number; limit?: number; allowedExits?: readonly number[]},
): Promise<Remote> {
  const input = await pack(files)
  const result = await onHost(context, host, ['sh', '-c', RUN, 'sh', ...words], {...options, deadline: COPYING + deadline, allowedExits: [...allowedExits, 1], input})
  if (result.exitCode !== 1) return result
  throw new NotTaken(`${host.name} did not take the files: nothing was done there`, lastLines(printable(result.stderr), 5))
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
