import {X509Certificate} from 'node:crypto'
import {access, copyFile, readFile} from 'node:fs/promises'
import {basename, join, resolve} from 'node:path'
import {type Kernel} from '../kernel/kernel.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {keyOf, sha256} from '../lib/hash.js'
import {run} from '../lib/process.js'
import {type LivepatchModule} from './build.js'

/** What modules are signed with. */
export type SigningKey = {
  /** A file, or a PKCS#11 URI (RFC 7512), which sign-file and kmodsign take as it is. */
  key: string
  /** The certificate's file, PEM or DER. */
  certificate: string
  /** How the kernel calls the key in /proc/keys: the certificate's subjectKeyIdentifier, else its serial number, in hexadecimal. */
  id: string
}

/** Where dkms(8) keeps the machine owner key that it makes. */
const DKMS = {key: '/var/lib/dkms/mok.key', certificate: '/var/lib/dkms/mok.pub'}

/**
 * The key that --sign means.
 *
 * @param words `KEY,CERT`; true for the machine owner key of dkms
 * @throws InputError when a file is missing or is no certificate
 */
export async function signingKey(words: string | true): Promise<SigningKey> {
  const {key, certificate} = words === true ? DKMS : keyAndCertificate(words)
  for (const file of [...(key.startsWith('pkcs11:') ? [] : [key]), certificate]) {
    await access(file).catch(() => {
      throw new InputError(words === true ? `--sign: dkms has made no key here (${file}): name one as KEY,CERT` : `--sign: ${file} cannot be read`)
    })
  }
  const bytes = await readFile(certificate)
  try {
    return {key, certificate, id: keyId(new X509Certificate(bytes))}
  } catch {
    throw new InputError(`--sign: ${certificate} is no X.509 certificate`)
  }
}

/** A URI may have commas. */
function keyAndCertificate(words: string): {key: string; certificate: string} {
  const at = words.lastIndexOf(',')
  if (at <= 0 || at === words.length - 1) throw new InputError(`--sign ${words}: write KEY,CERT: the files of the private key and of its certificate`)
  const key = words.slice(0, at)
  return {key: key.startsWith('pkcs11:') ? key : resolve(key), certificate: resolve(words.slice(at + 1))}
}

/** crypto/asymmetric_keys/x509_public_key.c, x509_key_preparse(): a leading zero byte is left out. */
function keyId(certificate: X509Certificate): string {
  const der = Buffer.from(certificate.raw)
  // The extension's OID 2.5.29.14, and an OCTET STRING in an OCTET STRING.
  const at = der.indexOf(Buffer.from('0603551d0e04', 'hex'))
  const id = at >= 0 && der[at + 7] === 4 ? der.toString('hex', at + 9, at + 9 + der[at + 8]!) : certificate.serialNumber.toLowerCase()
  return id.replace(/^00(?=.)/, '')
}

/**
 * A module with a signature appended, by the kernel's own scripts/sign-file of its headers, or by kmodsign.
 *
 * @throws CouldNotRun when neither is there, or it fails
 */
export async function signModule(context: Context, module: LivepatchModule, kernel: Kernel, {key, certificate, id}: SigningKey): Promise<LivepatchModule> {
  const hash = await hashOf(context, kernel)
  const inputs = {module: module.sha256, certificate: sha256(await readFile(certificate)), hash, steps: 1}
  const name = basename(module.path)
  const signed = await artefact(context, 'signed', keyOf(inputs), inputs, async (into) => {
    context.progress(`signing ${name} with the key ${id.slice(0, 16)}`)
    const file = join(into, name)
    await copyFile(module.path, file)
    await run(await signer(context, kernel), [hash, key, certificate, file], {signal: context.signal})
  })
  return {path: join(signed.directory, name), sha256: signed.files[name]!}
}

/** The hash that the kernel's own modules are signed with: one that it can check. */
async function hashOf(context: Context, kernel: Kernel): Promise<string> {
  const {config} = kernel.imageless ? {} : await kernel.image(context)
  const text = config === undefined ? '' : await readFile(config, 'utf8')
  return /^CONFIG_MODULE_SIG_HASH="([\w-]+)"$/m.exec(text)?.[1] ?? 'sha256'
}

/** kmodsign(1) takes the same words; a module that was built elsewhere needs no headers here. */
async function signer(context: Context, kernel: Kernel): Promise<string> {
  const headers = await kernel.headers(context).catch((error: unknown) => {
    if (error instanceof InputError) return undefined
    throw error
  })
  const own = headers && join(headers.build, 'scripts/sign-file')
  return own !== undefined && (await access(own).then(() => true, () => false)) ? own : 'kmodsign'
}
