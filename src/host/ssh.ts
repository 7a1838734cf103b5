import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {access, constants, mkdtemp, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Readable} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError, Interrupted, systemCode} from '../lib/errors.js'
import {hostPath} from '../lib/hostpath.js'
import {dyingWithUs, lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {shellWords} from '../lib/quote.js'

/** A connection to a host: one master ssh that carries every command. */
export type Host = {
  /** As the user wrote it. */
  name: string
  /** The socket of the master, ControlPath of ssh_config(5). */
  socket: string
  /** Whether the master has ended, or does so within `ms`. */
  lost: (ms: number) => Promise<boolean>
}

export type HostOptions = {
  /** An ssh_config(5) file instead of the user's own and the system's. */
  config?: string | undefined
}

export type RemoteOptions = {
  input?: string | Uint8Array
  /** How long it may take, in ms. */
  deadline?: number
  /** How many bytes are taken of its standard output, and of its standard error; what comes then ends it. */
  limit?: number
  /** Which exit codes are an answer rather than a failure; only 0 by default. */
  allowedExits?: readonly number[] | 'any'
}

/** What a command on a host left. It is the host's: hostile until it went through printable(). */
export type Remote = {
  stdout: Buffer
  stderr: string
  /** 255 as well when a signal ended it. */
  exitCode: number
  /** Why it is not all of the output, or not the command's own end. */
  ended?: 'too long' | 'too late'
}

const DEADLINE = 60_000

/** ssh's exit code where it failed itself. */
const LOST = 255

const LIMIT = 1 << 20

/** What the user's configuration may ask for, and a connection for commands must not do. */
const PLAIN = [
  ...['RemoteCommand=none', 'RequestTTY=no', 'SessionType=none', 'PermitLocalCommand=no', 'ForkAfterAuthentication=no'],
  ...['ClearAllForwardings=yes', 'ForwardAgent=no', 'ForwardX11=no', 'ControlMaster=yes', 'ControlPersist=no'],
  ...['ServerAliveInterval=10', 'ServerAliveCountMax=3', 'ConnectTimeout=20'],
]

/**
 * Does some work over one connection to a host. OpenSSH's client makes it, with
 * the user's own configuration, keys, agent and known_hosts; where there is a
 * terminal it may ask for a passphrase or about a key.
 *
 * @param name as for ssh(1): `root@lab1`, an alias of the configuration, or `ssh://root@lab1:2222`
 * @throws InputError when the name is none, or its ssh_config cannot be read
 * @throws CouldNotRun with ssh's own words when there is no connection
 */
export async function withHost<T>(context: Context, name: string, options: HostOptions, work: (host: Host) => Promise<T>): Promise<T> {
  checkName(name)
  await checkConfig(options)
  context.signal.throwIfAborted()
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-ssh-'))
  const socket = join(folder, 'master')
  const master = startMaster(name, socket, options)
  try {
    await connected(context, name, socket, master)
    return await work({name, socket, lost: master.endedWithin})
  } finally {
    await master.end()
    await rm(folder, {recursive: true, force: true})
  }
}

/** What a host may be called: nothing that ssh could take for an option, nor a shell for its own. */
export function checkName(name: string): void {
  if (/^(ssh:\/\/)?[\w%+.@[\]:-]+$/.test(name) && !name.startsWith('-')) return
  throw new InputError(`'${printable(name)}' is no host: write it as for ssh, like root@lab1 or ssh://root@lab1:2222`)
}

async function checkConfig({config}: HostOptions): Promise<void> {
  if (config === undefined) return
  // ssh takes a pipe as well.
  const why = (await stat(config).catch(() => undefined))?.isDirectory() ? 'it is a folder' : await access(config, constants.R_OK).then(() => undefined, cause)
  if (why !== undefined) throw new InputError(`--ssh-config ${printable(config)} cannot be read: ${why}`)
}

const cause = (error: unknown) => (systemCode(error) === 'ENOENT' ? 'there is no such file' : `${systemCode(error)}`)

type Master = {said: () => string; ended: () => boolean; endedWithin: (ms: number) => Promise<boolean>; end: () => Promise<void>}

function startMaster(name: string, socket: string, {config}: HostOptions): Master {
  // Without a terminal nobody can answer, and ssh must not wait for it.
  const asking = process.stdin.isTTY && process.stderr.isTTY ? [] : ['-o', 'BatchMode=yes']
  const settings = [...PLAIN, `ControlPath=${socket}`].flatMap((setting) => ['-o', setting])
  const args = [...(config === undefined ? [] : ['-F', config]), ...settings, ...asking, '-N', '-T', '--', name]
  // Ctrl-C is ours to handle, and the work may have to undo something over the connection; ssh leaves an ignored
  // signal ignored. It stays in our process group, because only there it may ask on the terminal.
  const [file, words] = dyingWithUs('KILL', 'env', ['--ignore-signal=INT', 'ssh', ...args])
  const child = spawn(file, words, {stdio: ['ignore', 'ignore', 'pipe'], env: {...process.env, PATH: hostPath()}})
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4096)))
  const gone = Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => {})
  const ended = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined
  const end = async () => {
    child.kill('SIGTERM')
    const killing = setTimeout(() => child.kill('SIGKILL'), 2000)
    if (!ended()) await gone
    clearTimeout(killing)
  }
  const endedWithin = async (ms: number) => {
    const waiting = new AbortController()
    await Promise.race([gone, delay(ms, undefined, {signal: waiting.signal}).catch(() => {})])
    waiting.abort()
    return ended()
  }
  return {said: () => said, ended, endedWithin, end}
}

/** The socket is there once the host has taken our key. */
async function connected({signal}: Context, name: string, socket: string, master: Master): Promise<void> {
  while (true) {
    if (signal.aborted) throw new Interrupted()
    if (await access(socket).then(() => true, () => false)) return
    if (master.ended()) throw new CouldNotRun(`there is no connection to ${name}`, lastLines(printable(master.said()), 8))
    await delay(20)
  }
}

/**
 * Runs a program on a host, its arguments quoted for the shell there.
 *
 * @throws CouldNotRun when it exits otherwise than allowed, takes too long, prints too much, or the connection is lost
 */
export async function onHost(context: Context, host: Host, words: readonly string[], options: RemoteOptions = {}): Promise<Remote> {
  const result = await attempt(context, host, words, options)
  const {allowedExits = [0], deadline = DEADLINE, limit = LIMIT} = options
  const what = `'${words.slice(0, 2).join(' ')}' on ${host.name}`
  if (result.ended === 'too late') throw new CouldNotRun(`${what} was not done after ${deadline / 1000} s`, whatItSaid(result))
  if (result.ended === 'too long') throw new CouldNotRun(`${what} printed more than ${limit} bytes`)
  if (allowedExits === 'any' || allowedExits.includes(result.exitCode)) return result
  // ssh(1): its own code, of which nothing that we run makes use.
  if (result.exitCode === LOST) throw new CouldNotRun(`the connection to ${host.name} was lost`, lastLines(printable(result.stderr.trim()), 5))
  throw new CouldNotRun(`${what} failed with exit code ${result.exitCode}`, whatItSaid(result))
}

/** Runs a shell script on a host. */
export async function scriptOnHost(
  context: Context,
  host: Host,
  script: string,
  args: readonly string[] = [],
  options: Omit<RemoteOptions, 'input'> = {},
): Promise<Remote> {
  return await onHost(context, host, ['sh', '-s', '--', ...args], {...options, input: wholeScript(script)})
}

/**
 * A script as `sh -s` gets it on standard input: it begins when all of it is
 * there, so that a connection that is cut runs half of nothing, and what it runs
 * reads nothing from us. (An argument would not do: dropbear takes commands of
 * 9000 bytes.)
 */
export function wholeScript(script: string): string {
  return `{\n${script}\nexit\n} </dev/null\n`
}

/** Runs a program on a host, however it ends; a lost connection alone is thrown. */
export async function attempt(
  {signal}: Context,
  host: Host,
  words: readonly string[],
  {input, deadline = DEADLINE, limit = LIMIT}: RemoteOptions,
): Promise<Remote> {
  signal.throwIfAborted()
  // The user's configuration has done its work: were the master gone, ssh must not connect by itself.
  const args = ['-F', 'none', '-o', 'ProxyCommand=false', '-o', 'BatchMode=yes', '-S', host.socket, '-T', '--', host.name, shellWords(words)]
  const [file, wrapped] = dyingWithUs('KILL', 'ssh', args)
  const child = spawn(file, wrapped, {stdio: 'pipe', env: {...process.env, PATH: hostPath()}, detached: true})
  let ended: Remote['ended']
  const end = () => {
    child.kill('SIGTERM')
    // The master has them as well, and keeps them for as long as the command runs on there.
    for (const stream of child.stdio) stream?.destroy()
  }
  const endAs = (how: NonNullable<Remote['ended']>) => {
    ended ??= how
    end()
  }
  const stdout = collect(child.stdout, limit, () => endAs('too long'))
  const stderr = collect(child.stderr, limit, () => endAs('too long'))
  const timer = setTimeout(endAs, deadline, 'too late')
  signal.addEventListener('abort', end, {once: true})
  // A command need not read what it is given.
  child.stdin.on('error', () => {})
  child.stdin.end(input ?? '')
  try {
    const [exitCode] = (await once(child, 'close')) as [number | null]
    if (signal.aborted) throw new Interrupted()
    const said = stderr().toString('utf8')
    if (ended === undefined && exitCode === LOST && (CUT.test(said) || (await host.lost(LOSING)))) {
      throw new CouldNotRun(`the connection to ${host.name} was lost`, lastLines(printable(said), 5))
    }
    return {stdout: stdout(), stderr: said, exitCode: exitCode ?? LOST, ...(ended === undefined ? {} : {ended})}
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}

/**
 * How long a master may take to end once its connection is gone, in ms. Its
 * client ends first, often without a word, with the exit code that a command may have as well.
 */
const LOSING = 1000

/** How a client says that its master is gone, or went while the command ran (mux.c of OpenSSH). */
const CUT = /^(mux_client|Control socket connect|Connection closed by UNKNOWN|Shared connection to )/m

/** Keeps what a stream brings, up to a limit. */
function collect(stream: Readable, limit: number, onLimit: () => void): () => Buffer {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk.subarray(0, Math.max(0, limit - size)))
    size += chunk.length
    if (size > limit) onLimit()
  })
  return () => Buffer.concat(chunks)
}

function whatItSaid({stderr, stdout}: Remote): string {
  return lastLines(printable(stderr.trim() || stdout.toString('utf8')), 15)
}
