import {execa} from 'execa'
import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from 'vitest'
import {checkSignature, gitSigner} from '../../src/bundle/sign.js'
import {CouldNotRun} from '../../src/lib/errors.js'
import {findProgram} from '../../src/lib/hostpath.js'
import {complaint} from '../support/complaint.js'
import {scratch} from '../support/scratch.js'

/** A fresh Debian has no gpg; whoever signs with it has. */
const NO_GPG = (await findProgram('gpg')) === undefined

const {signal} = new AbortController()
const MANIFEST = Buffer.from('{"schema":1}\n')
const before = {...process.env}

let home: string
beforeEach(async () => {
  home = await scratch()
  await mkdir(join(home, 'gnupg'), {mode: 0o700})
  Object.assign(process.env, {HOME: home, GNUPGHOME: join(home, 'gnupg'), GIT_CONFIG_GLOBAL: join(home, 'gitconfig'), GIT_CONFIG_NOSYSTEM: '1'})
})
afterEach(async () => {
  await execa('gpgconf', ['--kill', 'all'], {reject: false})
  for (const name of ['HOME', 'GNUPGHOME', 'GIT_CONFIG_GLOBAL', 'GIT_CONFIG_NOSYSTEM']) {
    if (before[name] === undefined) delete process.env[name]
    else process.env[name] = before[name]
  }
})

/** A key and the line of allowed signers for it; git signs with it. */
async function sshKey(name = 'id', configure = true): Promise<{key: string; allowed: string}> {
  const key = join(home, name)
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a comment', '-f', key])
  if (configure) await writeFile(join(home, 'gitconfig'), `[gpg]\nformat = ssh\n[user]\nsigningkey = ${key}\n`)
  const allowed = join(home, `${name}.allowed`)
  await writeFile(allowed, `ann@example.org namespaces="patchbench-bundle" ${await readFile(`${key}.pub`, 'utf8')}`)
  return {key, allowed}
}

async function signed(): Promise<Buffer> {
  const folder = await scratch()
  const file = join(folder, 'manifest.json')
  await writeFile(file, MANIFEST)
  const signature = await (await gitSigner(signal))(file)
  expect(await readdir(folder)).toEqual(['manifest.json'])
  return signature
}

async function gpgKey(name: string): Promise<string> {
  await execa('gpg', ['--batch', '--passphrase', '', '--quick-generate-key', `${name} <${name}@example.org>`, 'ed25519', 'sign', 'never'])
  const {stdout} = await execa('gpg', ['--armor', '--export', `${name}@example.org`])
  const file = join(home, `${name}.asc`)
  await writeFile(file, `${stdout}\n`)
  return file
}

describe("a signature with git's key", () => {
  it('of SSH is good for who is allowed, and for what was signed', async () => {
    const {allowed} = await sshKey()
    const signature = await signed()
    expect(signature.toString()).toContain('BEGIN SSH SIGNATURE')
    expect(await checkSignature(signal, allowed, MANIFEST, signature)).toBe('ann@example.org')
    expect(await complaint(checkSignature(signal, allowed, Buffer.from('{"schema":2}\n'), signature))).toContain('its signature is bad')
    const other = await sshKey('other', false)
    expect(await complaint(checkSignature(signal, other.allowed, MANIFEST, signature))).toContain('none of')
    // The same bytes each time: ed25519 needs no chance.
    expect(await signed()).toEqual(signature)
  })

  it('of SSH made for something else is none', async () => {
    const {key, allowed} = await sshKey()
    await writeFile(allowed, `ann@example.org ${await readFile(`${key}.pub`, 'utf8')}`)
    const {stdout} = await execa('ssh-keygen', ['-Y', 'sign', '-n', 'git', '-f', key], {input: MANIFEST})
    expect(await complaint(checkSignature(signal, allowed, MANIFEST, Buffer.from(`${stdout}\n`)))).toContain('its signature is bad')
  })

  it('of SSH may be by a key that only the agent has', async () => {
    const {key, allowed} = await sshKey()
    const {stdout} = await execa('ssh-agent', ['-s'])
    const agent = {SSH_AUTH_SOCK: /SSH_AUTH_SOCK=([^;]+)/.exec(stdout)![1]!, SSH_AGENT_PID: /SSH_AGENT_PID=(\d+)/.exec(stdout)![1]!}
    try {
      await execa('ssh-add', ['-q', key], {env: agent})
      await writeFile(join(home, 'gitconfig'), `[gpg]\nformat = ssh\n[user]\nsigningkey = key::${(await readFile(`${key}.pub`, 'utf8')).trim()}\n`)
      Object.assign(process.env, agent)
      expect(await checkSignature(signal, allowed, MANIFEST, await signed())).toBe('ann@example.org')
    } finally {
      delete process.env.SSH_AUTH_SOCK
      await execa('ssh-agent', ['-k'], {env: agent})
    }
  })

  it.skipIf(NO_GPG)('of OpenPGP is good for the keys of a file, whatever the keyring has', async () => {
    const ann = await gpgKey('ann')
    await writeFile(join(home, 'gitconfig'), '[user]\nsigningkey = ann@example.org\n')
    const signature = await signed()
    expect(signature.toString()).toContain('BEGIN PGP SIGNATURE')
    expect(await checkSignature(signal, ann, MANIFEST, signature)).toBe('ann <ann@example.org>')
    expect(await complaint(checkSignature(signal, ann, Buffer.from('{"schema":2}\n'), signature))).toContain('its signature is bad')
    const bob = await gpgKey('bob')
    expect(await complaint(checkSignature(signal, bob, MANIFEST, signature))).toContain('an OpenPGP key that is none of')
    expect(await complaint(checkSignature(signal, join(home, 'gitconfig'), MANIFEST, signature))).toContain('holds no OpenPGP public key')
  })
})

describe('refused', () => {
  it('is to sign without a key, or with one of another kind', async () => {
    expect(await complaint(gitSigner(signal))).toContain('git has no user.signingkey')
    await writeFile(join(home, 'gitconfig'), '[gpg]\nformat = x509\n[user]\nsigningkey = x\n')
    expect(await complaint(gitSigner(signal))).toContain("gpg.format is x509")
  })

  it('is a key that does not sign, in its own words', async () => {
    await writeFile(join(home, 'gitconfig'), `[gpg]\nformat = ssh\n[user]\nsigningkey = ${join(home, 'nowhere')}\n`)
    await expect(signed()).rejects.toThrow(CouldNotRun)
    await expect(signed()).rejects.toThrow(/cannot be signed with git's user.signingkey: .*nowhere/)
  })

  it('is a bundle that is not signed, and a file of keys that is none', async () => {
    const {allowed} = await sshKey()
    expect(await complaint(checkSignature(signal, allowed, MANIFEST, undefined))).toContain('it is not signed')
    expect(await complaint(checkSignature(signal, join(home, 'nowhere'), MANIFEST, await signed()))).toContain('is no file')
    const bad = await signed()
    expect(await complaint(checkSignature(signal, allowed, MANIFEST, Buffer.from(bad.toString().replace(/[A-Z](?=\w{20}\n)/, 'x'))))).toMatch(/refused/)
  })
})
