import {execa} from 'execa'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {buildIdOf, isSigned, readModule} from '../../src/livepatch/elf.js'
import {scratch} from '../support/scratch.js'

async function compiled(replace: boolean): Promise<Buffer> {
  const object = join(await scratch(), 'one.o')
  await execa('gcc', ['-c', '-O2', '-fno-pic', '-mcmodel=kernel', `-DREPLACE=${Number(replace)}`, '-o', object, projectPath('test/fixtures/livepatch-shaped.c')])
  return await readFile(object)
}

it('a module says what it is, imports and replaces', async () => {
  const facts = readModule(await compiled(false))
  expect(facts).toMatchObject({
    name: 'livepatch_one',
    vermagic: '6.12.1 SMP mod_unload modversions',
    depends: ['nf_tables', 'nf_nat'],
    crcs: {module_layout: 0xdeadbeef, kfree: 5},
    livepatch: true,
    functions: [
      {name: 'ip_rcv', position: 0},
      {name: 'ip_local_deliver', position: 3},
    ],
    replace: false,
    signed: false,
  })
  expect(readModule(await compiled(true))).toMatchObject({replace: true})
})

it('what is no module is told from one', async () => {
  const module = await compiled(false)
  expect(readModule(Buffer.from('#!/bin/sh\n'))).toBeUndefined()
  expect(readModule(module.subarray(0, 2000))).toBeUndefined()
  expect(readModule(Buffer.alloc(0))).toBeUndefined()
})

it('one that a host made up is read to an end as well', async () => {
  const module = await compiled(false)
  const sections = Number(module.readBigUInt64LE(0x28))
  const places = [...Array(64).keys(), ...Array.from({length: module.length - sections}, (_, index) => sections + index)]
  for (const value of [0, 0x7fffffff, 0xffffffff]) {
    for (const place of places.filter((one) => one % 4 === 0 && one + 4 <= module.length)) {
      const damaged = Buffer.from(module)
      damaged.writeUInt32LE(value, place)
      expect(() => readModule(damaged)).not.toThrow()
    }
  }
})

it('a signature is seen at its end', async () => {
  const module = await compiled(false)
  const signed = Buffer.concat([module, Buffer.from('~Module signature appended~\n')])
  expect([isSigned(module), isSigned(signed), readModule(signed)?.signed]).toEqual([false, true, true])
})

it('a build ID is read from a note as sysfs has it', () => {
  const note = '040000001400000003000000474e55008e7fbb0e863fcc085556132bfd65361d96fdcc73'
  expect(buildIdOf(Buffer.from(note, 'hex'))).toBe('8e7fbb0e863fcc085556132bfd65361d96fdcc73')
  expect(buildIdOf(Buffer.from('00', 'hex'))).toBeUndefined()
  // It goes on a command line.
  expect(buildIdOf(Buffer.concat([Buffer.from(note.replace('14000000', '00000100'), 'hex'), Buffer.alloc(1 << 16)]))).toBeUndefined()
})
