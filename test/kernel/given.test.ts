import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {givenKernel} from '../../src/kernel/given.js'
import {lineOf} from '../../src/kernel/kernel.js'
import {InputError} from '../../src/lib/errors.js'
import {contextIn, scratch} from '../support/scratch.js'

const RELEASE = '6.12.90-test'

/** The start of a bzImage (Documentation/arch/x86/boot.rst) that says which release it is. */
function image(release: string, magic = 'HdrS'): Buffer {
  const header = Buffer.alloc(0x4000)
  header.write(magic, 0x202, 'latin1')
  header.writeUInt16LE(0x3000, 0x20e)
  header.write(`${release} (builder@host) #1 SMP PREEMPT_DYNAMIC\0`, 0x3200, 'latin1')
  return header
}

/** A kernel's files in a folder. */
async function files(folder: string, release = RELEASE) {
  const given = {vmlinuz: join(folder, 'vmlinuz'), modules: join(folder, 'lib/modules', release), headers: join(folder, 'build')}
  await writeFile(given.vmlinuz, image(release))
  await mkdir(given.modules, {recursive: true})
  await writeFile(join(given.modules, 'modules.dep'), 'kernel/a.ko:\n')
  await mkdir(join(given.headers, 'include/generated'), {recursive: true})
  await writeFile(join(given.headers, 'Module.symvers'), '0x1\tfoo\tvmlinux\tEXPORT_SYMBOL\n')
  await writeFile(join(given.headers, 'include/generated/utsrelease.h'), `#define UTS_RELEASE "${release}"\n`)
  return given
}

async function complaint(given: Parameters<typeof givenKernel>[0]): Promise<string> {
  const error: unknown = await givenKernel(given).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(InputError)
  return (error as InputError).message
}

describe('a kernel at hand', () => {
  it('is known by the release in its image', async () => {
    const given = await files(await scratch())
    const kernel = await givenKernel(given)
    expect(kernel).toMatchObject({label: RELEASE, line: '6.12', release: RELEASE})
    expect(await kernel.image(contextIn('/nowhere'))).toEqual({vmlinuz: given.vmlinuz, modules: given.modules})
    expect(await kernel.headers(contextIn('/nowhere'))).toEqual({build: given.headers, prefix: given.headers})
    expect(Object.keys(kernel.origin)).toEqual(['vmlinuz', 'modules.dep', 'Module.symvers'])
    expect(kernel.origin.vmlinuz).toMatch(/^sha256:[\da-f]{64}$/)
  })

  it('is the same wherever its files are', async () => {
    const one = await givenKernel(await files(await scratch()))
    const other = await givenKernel(await files(await scratch()))
    expect(one.key).toBe(other.key)
  })

  it.each(['vmlinuz', 'modules.dep', 'Module.symvers'])('is another one when its %s changes', async (which) => {
    const given = await files(await scratch())
    const before = await givenKernel(given)
    const changed = {vmlinuz: given.vmlinuz, 'modules.dep': join(given.modules, 'modules.dep'), 'Module.symvers': join(given.headers, 'Module.symvers')}[which]!
    await writeFile(changed, which === 'vmlinuz' ? Buffer.concat([image(RELEASE), Buffer.from('x')]) : 'changed\n')
    expect((await givenKernel(given)).key).not.toBe(before.key)
  })

  it('needs headers only for livepatches', async () => {
    const {headers: _, ...given} = await files(await scratch())
    const kernel = await givenKernel(given)
    await expect(kernel.headers(contextIn('/nowhere'))).rejects.toThrow(new InputError(`livepatches for ${RELEASE} need its headers: add --headers <build folder>`))
  })
})

describe('a kernel is refused', () => {
  it('whose image is missing', async () => {
    const given = await files(await scratch())
    expect(await complaint({...given, vmlinuz: '/nowhere/vmlinuz'})).toBe('--kernel: /nowhere/vmlinuz does not exist')
  })

  it('whose modules are missing, with what to do', async () => {
    const given = await files(await scratch())
    expect(await complaint({...given, modules: '/nowhere/6.12'})).toBe(
      '--modules: /nowhere/6.12/modules.dep does not exist: run depmod, or name the folder lib/modules/RELEASE itself',
    )
  })

  it('whose modules are those of another', async () => {
    const folder = await scratch()
    const given = await files(folder)
    const other = await files(join(folder), '6.1.0-other')
    await writeFile(given.vmlinuz, image(RELEASE))
    expect(await complaint({...given, modules: other.modules})).toMatch(/^--modules .*6\.1\.0-other does not belong to .*vmlinuz: the image is 6\.12\.90-test$/)
  })

  it('whose headers are missing', async () => {
    const given = await files(await scratch())
    expect(await complaint({...given, headers: '/nowhere'})).toBe(
      '--headers: /nowhere/Module.symvers does not exist: name the folder of a configured kernel build or headers package',
    )
  })

  it.each([
    ['for another release', '#define UTS_RELEASE "6.12.91-test"\n', '6.12.91-test'],
    ['for none', '', 'no known kernel'],
  ])('whose headers are %s', async (_, text, words) => {
    const given = await files(await scratch())
    await writeFile(join(given.headers, 'include/generated/utsrelease.h'), text)
    expect(await complaint(given)).toMatch(new RegExp(`^--headers .* is for ${words} and the image is 6\\.12\\.90-test: modules would have the wrong vermagic$`))
  })

  it.each<[string, Buffer]>([
    ['empty', Buffer.alloc(0)],
    ['a text', Buffer.from('#!/bin/sh\necho hello\n')],
    ['an ELF vmlinux', Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(0x8000)])],
    ['without the magic', image(RELEASE, 'XXXX')],
    ['without a release', image('\0')],
    ['cut short', image(RELEASE).subarray(0, 0x1000)],
  ])('whose image is %s', async (_, bytes) => {
    const given = await files(await scratch())
    await writeFile(given.vmlinuz, bytes)
    expect(await complaint(given)).toMatch(/^--kernel: .*vmlinuz is no bootable x86 kernel image \(a bzImage, /)
  })

  it('whose image is a folder', async () => {
    const folder = await scratch()
    const given = await files(folder)
    expect(await complaint({...given, vmlinuz: folder})).toMatch(/^--kernel: .* is no file$/)
  })
})

it.each([
  ['6.12.117+deb12-amd64', '6.12'],
  ['6.1.0-49-amd64', '6.1'],
  ['6.12.90', '6.12'],
  ['6.13-rc1', '6.13'],
  ['6.13.0-rc1-virtme', '6.13'],
])('the line of %s is %s', (release, line) => {
  expect(lineOf(release)).toBe(line)
})
