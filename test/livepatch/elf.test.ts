import {execa} from 'execa'
import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {buildIdOf, isSigned, readModule} from '../../src/livepatch/elf.js'
import {scratch} from '../support/scratch.js'

/** As include/linux/livepatch.h and kbuild's modpost have them, as far as a reader of the file can see. */
const SOURCE = `
struct klp_func { const char *old_name; void *new_func; unsigned long old_sympos; void *more[12]; };
struct klp_object { const char *name; struct klp_func *funcs; void *more[8]; };
struct klp_patch { void *mod; struct klp_object *objs; void *states; _Bool replace; void *more[8]; };
struct module { char name[56]; };
__attribute__((section(".gnu.linkonce.this_module"))) struct module __this_module;
extern int __fentry__(void);
static int new_one(void) { return __fentry__(); }
int new_two(void) { return 2; }
static const char *names[] = { "no_function", "nor_this" };
static struct klp_func funcs[] = { { "ip_rcv", new_one }, { "ip_local_deliver", new_two, 3 }, { 0 } };
static struct klp_object objs[] = { { 0, funcs }, { 0 } };
static struct klp_patch patch = { .mod = &__this_module, .objs = objs, .replace = REPLACE };
void *use[] = { &patch, names };
#define INFO(tag, text) __attribute__((section(".modinfo"), used, aligned(1))) static const char tag[] = text
INFO(a, "name=livepatch_one"); INFO(b, "vermagic=6.12.1 SMP mod_unload modversions "); INFO(c, "depends=nf_tables,nf_nat"); INFO(d, "livepatch=Y");
__attribute__((section("__versions"), used)) static const struct { unsigned long crc; char name[56]; } versions[] = { { 0xdeadbeef, "module_layout" }, { 5, "kfree" } };
`

async function compiled(replace: boolean): Promise<Buffer> {
  const folder = await scratch()
  await writeFile(join(folder, 'one.c'), SOURCE.replace('REPLACE', String(Number(replace))))
  await execa('gcc', ['-c', '-O2', '-fno-pic', '-mcmodel=kernel', '-o', join(folder, 'one.o'), join(folder, 'one.c')])
  return await readFile(join(folder, 'one.o'))
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

it('a signature is seen at its end', async () => {
  const module = await compiled(false)
  const signed = Buffer.concat([module, Buffer.from('~Module signature appended~\n')])
  expect([isSigned(module), isSigned(signed), readModule(signed)?.signed]).toEqual([false, true, true])
})

it('a build ID is read from a note as sysfs has it', () => {
  const note = '040000001400000003000000474e55008e7fbb0e863fcc085556132bfd65361d96fdcc73'
  expect(buildIdOf(Buffer.from(note, 'hex'))).toBe('8e7fbb0e863fcc085556132bfd65361d96fdcc73')
  expect(buildIdOf(Buffer.from('00', 'hex'))).toBeUndefined()
})
