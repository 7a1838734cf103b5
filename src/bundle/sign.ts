import {mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {lastLines, run} from '../lib/process.js'
import {refused} from './manifest.js'
import {type Sign} from './pack.js'

/** What an SSH signature is for, so that one made for a commit or a mail is none here (ssh-keygen(1), -n). */
const NAMESPACE = 'patchbench-bundle'

type GitKey = {format: 'openpgp' | 'ssh'; key: string}

/**
 * Signing with the key that git signs with: gpg.format and user.signingkey of
 * git-config(1).
 *
 * @throws InputError when git has no such key
 */
export async function gitSigner(signal: AbortSignal): Promise<Sign> {
  const {format, key} = await gitKey(signal)
  return format === 'ssh' ? async (file) => await signWithSsh(signal, key, file) : async (file) => await signWithGpg(signal, key, file)
}

async function gitKey(signal: AbortSignal): Promise<GitKey> {
  const get = async (name: string) => (await run('git', ['config', '--get', name], {signal, allowedExits: [0, 1]})).stdout.trim()
  const key = await get('user.signingkey')
  if (key === '') throw new InputError('--sign: git has no user.signingkey: set it to the key that you sign with')
  const format = (await get('gpg.format')) || 'openpgp'
  if (format === 'openpgp' || format === 'ssh') return {format, key}
  throw new InputError(`--sign: git's gpg.format is ${format}: bundles are signed with openpgp or ssh`)
}

/** A key is a file, or itself, whose private half ssh-agent(1) has. */
async function signWithSsh(signal: AbortSignal, key: string, file: string): Promise<Buffer> {
  const literal = key.startsWith('key::') ? key.slice('key::'.length) : /^(?:ssh|ecdsa|sk)-\S+ /.test(key) ? key : undefined
  const given = `${file}.pub`
  try {
    if (literal !== undefined) await writeFile(given, `${literal}\n`)
    const words = literal === undefined ? ['-f', key.replace(/^~(?=\/)/, homedir())] : ['-U', '-f', given]
    await run('ssh-keygen', ['-Y', 'sign', '-n', NAMESPACE, ...words, file], {signal})
    return await readFile(`${file}.sig`)
  } catch (error) {
    throw unsigned(error)
  } finally {
    for (const leftover of [given, `${file}.sig`]) await rm(leftover, {force: true})
  }
}

async function signWithGpg(signal: AbortSignal, key: string, file: string): Promise<Buffer> {
  const output = `${file}.asc`
  try {
    await run('gpg', ['--batch', '--armor', '--local-user', key, '--output', output, '--detach-sign', file], {signal})
    return await readFile(output)
  } catch (error) {
    throw unsigned(error)
  } finally {
    await rm(output, {force: true})
  }
}

/** Why a key does not sign, in the words of its program. */
function unsigned(error: unknown): unknown {
  if (!(error instanceof CouldNotRun) || error.detail === '') return error
  return new CouldNotRun(`the bundle cannot be signed with git's user.signingkey: ${lastLines(error.detail, 1)}`, error.detail)
}

/**
 * Checks a manifest's signature against keys that the user trusts: a file of
 * allowed signers for SSH (ssh-keygen(1), ALLOWED SIGNERS, as git's
 * gpg.ssh.allowedSignersFile) or of public keys for OpenPGP.
 *
 * @returns who signed
 * @throws InputError when it is not signed by one of them
 */
export async function checkSignature(signal: AbortSignal, keys: string, manifest: Buffer, signature: Buffer | undefined): Promise<string> {
  const file = resolve(keys)
  if (!(await stat(file).catch(() => undefined))?.isFile()) throw new InputError(`--verify ${keys} is no file: name one of allowed signers, or of OpenPGP public keys`)
  if (!signature) throw refused('it is not signed, and --verify wants a signature')
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-signature-'))
  try {
    const place = join(folder, 'signature')
    await writeFile(place, signature)
    const isSsh = signature.includes('-----BEGIN SSH SIGNATURE-----')
    return isSsh ? await checkSsh(signal, file, manifest, place) : await checkGpg(signal, file, manifest, place, folder)
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

async function checkSsh(signal: AbortSignal, keys: string, manifest: Buffer, signature: string): Promise<string> {
  const found = await run('ssh-keygen', ['-Y', 'find-principals', '-f', keys, '-s', signature], {signal, allowedExits: 'any'})
  const principal = found.stdout.split('\n')[0] ?? ''
  if (found.exitCode !== 0 || principal === '') throw refused(`it is signed with an SSH key that is none of ${keys}`)
  const words = ['-Y', 'verify', '-f', keys, '-I', principal, '-n', NAMESPACE, '-s', signature]
  const {exitCode, all} = await run('ssh-keygen', words, {signal, input: manifest, allowedExits: 'any'})
  if (exitCode !== 0) throw refused(`its signature is bad: ${lastLines(all, 1)}`)
  return principal
}

async function checkGpg(signal: AbortSignal, keys: string, manifest: Buffer, signature: string, home: string): Promise<string> {
  // Neither the user's keys nor their trust have a part in it.
  const gpg = ['--batch', '--homedir', home, '--no-autostart', '--trust-model', 'always']
  const imported = await run('gpg', [...gpg, '--import', keys], {signal, allowedExits: 'any'})
  if (imported.exitCode !== 0) throw new InputError(`--verify ${keys} holds no OpenPGP public key, with which this bundle is signed`)
  const {exitCode, stdout, stderr} = await run('gpg', [...gpg, '--status-fd', '1', '--verify', signature, '-'], {signal, input: manifest, allowedExits: 'any'})
  const signer = /^\[GNUPG:\] GOODSIG \w+ (.*)$/m.exec(stdout)?.[1]
  if (exitCode === 0 && signer !== undefined) return signer
  const unknown = stdout.includes('NO_PUBKEY')
  throw refused(unknown ? `it is signed with an OpenPGP key that is none of ${keys}` : `its signature is bad: ${lastLines(stderr, 1)}`)
}
