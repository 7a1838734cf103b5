import {execa} from 'execa'
import {existsSync} from 'node:fs'
import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it as always, vi} from 'vitest'
import {kernelOfName} from '../../src/deploy/headers.js'
import {signingKey, signModule} from '../../src/livepatch/sign.js'
import {contextIn, scratch} from '../support/scratch.js'

/** The certificates are made by openssl(1), which patchbench itself does not need. */
const it = always.runIf(existsSync('/usr/bin/openssl'))

async function certificate(...extra: string[]): Promise<{folder: string; key: string; cert: string}> {
  const folder = await scratch()
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.der')]
  await execa('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-outform', 'DER', '-out', cert, '-days', '2', '-subj', '/CN=ours', ...extra])
  return {folder, key, cert}
}

it('a key is called as the kernel calls it, by its identifier, else by its serial number', async () => {
  const {key, cert} = await certificate()
  const {stdout} = await execa('openssl', ['x509', '-inform', 'DER', '-in', cert, '-noout', '-ext', 'subjectKeyIdentifier'])
  const id = stdout.split('\n')[1]!.replaceAll(/[ :]/g, '').toLowerCase().replace(/^00/, '')
  expect(await signingKey(`${key},${cert}`)).toEqual({key, certificate: cert, id})
  const bare = await certificate('-set_serial', '0x00c0ffee', '-addext', 'subjectKeyIdentifier=none', '-addext', 'authorityKeyIdentifier=none')
  expect((await signingKey(`${bare.key},${bare.cert}`)).id).toBe('c0ffee')
})

it('a PKCS#11 URI is passed on as it is', async () => {
  const {cert} = await certificate()
  expect(await signingKey(`pkcs11:token=a,b;object=c,${cert}`)).toMatchObject({key: 'pkcs11:token=a,b;object=c'})
})

it('a module for a kernel that nothing is here of is signed by kmodsign', async () => {
  const {folder, key, cert} = await certificate()
  await writeFile(join(folder, 'kmodsign'), '#!/bin/sh\necho "$1 $2 $3" >>"$4"\n', {mode: 0o755})
  await writeFile(join(folder, 'one.ko'), 'a module, ')
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
  const module = {path: join(folder, 'one.ko'), sha256: ''}
  const signed = await signModule(contextIn(folder), module, kernelOfName('6.12-lab'), await signingKey(`${key},${cert}`))
  vi.unstubAllEnvs()
  expect(await readFile(signed.path, 'utf8')).toBe(`a module, sha256 ${key} ${cert}\n`)
})

it('what is no key is refused', async () => {
  const {folder, key, cert} = await certificate()
  await writeFile(join(folder, 'text'), 'no certificate')
  await expect(signingKey(key)).rejects.toThrow(/^--sign .*: write KEY,CERT/)
  await expect(signingKey(`${folder}/none,${cert}`)).rejects.toThrow('none cannot be read')
  await expect(signingKey(`${key},${folder}/text`)).rejects.toThrow('is no X.509 certificate')
})
