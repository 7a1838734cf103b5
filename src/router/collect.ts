import {access, chmod, constants, mkdir, mkdtemp, rename, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {create} from 'tar'
import {attempt, type Host, type Remote, scriptOnHost} from '../host/ssh.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {sha256, sha256File} from '../lib/hash.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {captureItem, DEVICES, type Item, ITEMS} from './items.js'
import {createMask, type Mask} from './mask.js'

export type CollectOptions = {
  /** The archive to write; see checkOutput(). */
  output: string
  /** How long packets are captured, in s; 0 for not at all. */
  seconds: number
  /** Devices to capture on; those of the flowtables and bridges where none is named. */
  devices?: readonly string[] | undefined
  maskAddresses: boolean
  /** What gathered it, for the manifest. */
  version: string
}

/** What the archive holds, as its manifest.json says. */
export type Manifest = {
  schema: 1
  patchbench: string
  host: string
  date: string
  files: {file: string; sha256: string; bytes: number; /** More of it was left there. */ cut?: true; /** What its program complained of. */ said?: string}[]
  missing: {file: string; why: string}[]
  masked: {secrets: number; addresses: number; /** Whether public addresses were to be masked. */ addressesAsked: boolean}
}

/** Of one thing, in bytes: a busy router has hundred thousands of connections. */
const LIMIT = 8 << 20
const DEADLINE = 60_000
/** Packets a device, and devices. */
const PACKETS = 500
const MOST_DEVICES = 8

type Gathered = {file: string; text: string; cut: boolean; said: string} | {file: string; why: string}

/**
 * Gathers what a report about flow offloading needs from a router into one
 * archive (.tar.gz: every reader has gzip). Nothing is written there; secrets are masked before anything is written here.
 */
export async function collect(context: Context, host: Host, options: CollectOptions): Promise<{manifest: Manifest; archive: string; sha256: string}> {
  const {output, seconds, maskAddresses, version} = options
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-router-'))
  const unfinished = `${output}.${process.pid}`
  try {
    const mask = createMask({addresses: maskAddresses})
    const devices = seconds > 0 ? (options.devices ?? (await flowDevices(context, host))) : []
    const gathered = await gatherAll(context, host, [...ITEMS, ...devices.map((device) => captureItem(device, seconds, PACKETS))], seconds)
    if (seconds > 0 && devices.length === 0) gathered.push({file: 'captures', why: 'there is no flowtable and no bridge: name devices with --interface'})
    const manifest: Manifest = {
      ...{schema: 1, patchbench: version, host: mask.text(host.name), date: new Date().toISOString()},
      ...(await writeAll(folder, gathered, mask)),
      masked: {...mask.count(), addressesAsked: maskAddresses},
    }
    await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    await writeFile(unfinished, '', {mode: 0o600, flag: 'wx'})
    const names = ['manifest.json', ...manifest.files.map(({file}) => file)]
    await create({cwd: folder, file: unfinished, gzip: true, portable: true, prefix: 'router'}, names)
    await chmod(unfinished, 0o600)
    await rename(unfinished, output)
    return {manifest, archive: output, sha256: await sha256File(output)}
  } finally {
    await rm(unfinished, {force: true})
    await rm(folder, {recursive: true, force: true})
  }
}

/**
 * Before anything is gathered: whether an archive can be written.
 *
 * @param output as the user wrote it
 * @throws InputError when there is something of that name, or its folder takes no file
 */
export async function checkOutput(output: string): Promise<void> {
  if (await stat(output).catch(() => undefined)) throw new InputError(`${output} is there already: name another file with --output`)
  const folder = dirname(resolve(output))
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) throw new InputError(`${output} cannot be written: there is no folder ${folder}`)
  await access(folder, constants.W_OK | constants.X_OK).catch(() => {
    throw new InputError(`${output} cannot be written: the folder ${folder} takes no file of yours; name another with --output`)
  })
}

async function flowDevices(context: Context, host: Host): Promise<string[]> {
  const {stdout} = await scriptOnHost(context, host, DEVICES, [], {allowedExits: 'any'})
  return stdout.toString('utf8').split('\n').filter(isDevice).slice(0, MOST_DEVICES)
}

/** IFNAMSIZ of the kernel, and nothing that means something to a shell. */
export function isDevice(name: string): boolean {
  return /^[\w.@-]{1,15}$/.test(name) && !name.startsWith('-') && !/^\.+$/.test(name)
}

/** Captures run side by side, in the same seconds; the tables before them, one after the other. */
async function gatherAll(context: Context, host: Host, items: readonly Item[], seconds: number): Promise<Gathered[]> {
  const gathered: Gathered[] = []
  const captures = items.filter(({file}) => file.startsWith('captures/'))
  for (const item of items.filter((one) => !captures.includes(one))) {
    context.progress(`gathering ${item.file} (${gathered.length} of ${items.length})`)
    gathered.push(await gather(context, host, item))
  }
  if (captures.length > 0) context.progress(`capturing for ${seconds} s on ${captures.map(({file}) => file.slice('captures/'.length, -'.txt'.length)).join(', ')}`)
  gathered.push(...(await Promise.all(captures.map(async (item) => await gather(context, host, item, seconds * 1000)))))
  return gathered
}

async function gather(context: Context, host: Host, {file, script}: Item, longer = 0): Promise<Gathered> {
  const words = ['sh', '-s']
  const result = await attempt(context, host, words, {input: `{\n${script}\nexit\n} </dev/null\n`, limit: LIMIT, deadline: DEADLINE + longer})
  const text = result.stdout.toString('utf8')
  const said = lastLines(printable(result.stderr), 5)
  const failed = whyFailed(result)
  if (failed !== undefined && text.trim() === '') return {file, why: said ? `${failed}: ${said}` : failed}
  return {file, text, cut: result.ended === 'too long', said: failed === undefined ? said : `${failed}${said && `: ${said}`}`}
}

function whyFailed({ended, exitCode}: Remote): string | undefined {
  if (ended === 'too long') return undefined
  if (ended === 'too late') return `it was not done after ${DEADLINE / 1000} s`
  return exitCode === 0 ? undefined : `exit code ${exitCode}`
}

async function writeAll(folder: string, gathered: readonly Gathered[], mask: Mask): Promise<Pick<Manifest, 'files' | 'missing'>> {
  const files: Manifest['files'] = []
  const missing: Manifest['missing'] = []
  for (const one of gathered) {
    if ('why' in one) {
      missing.push({file: one.file, why: mask.text(one.why)})
      continue
    }
    const text = mask.text(printable(one.text))
    const path = join(folder, one.file)
    await mkdir(dirname(path), {recursive: true})
    await writeFile(path, text)
    const said = mask.text(one.said)
    files.push({file: one.file, sha256: sha256(text), bytes: Buffer.byteLength(text), ...(one.cut ? {cut: true as const} : {}), ...(said ? {said} : {})})
  }
  return {files, missing}
}
