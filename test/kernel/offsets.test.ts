import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type Kernel} from '../../src/kernel/kernel.js'
import {type Context} from '../../src/lib/context.js'
import {memberOffsets, offsetsSource} from '../../src/kernel/offsets.js'
import {contextIn, scratch} from '../support/scratch.js'

/** A folder that compiles what it is asked to as kbuild does, against structures of our own. */
async function kernelWith(structures: string): Promise<Kernel> {
  const build = await scratch()
  await mkdir(join(build, 'include'))
  const headers = [...offsetsSource([]).matchAll(/^#include <(.*)>$/gm)].map(([, header]) => header!)
  for (const header of headers) {
    await mkdir(join(build, 'include', header, '..'), {recursive: true})
    await writeFile(join(build, 'include', header), header === 'linux/skbuff.h' ? structures : '')
  }
  await writeFile(join(build, 'Makefile'), 'include $(M)/Kbuild\noffsets.o:\n\t@gcc $(NOSTDINC_FLAGS) -Iinclude -c -o $(M)/offsets.o $(M)/offsets.c\n')
  return {label: 'linux of ours', key: structures, headers: async () => ({build, prefix: build})} as unknown as Kernel
}

const STRUCTURES = `#pragma once
struct inner { long a; union { int b; char c[4]; }; };
struct outer { char first; struct inner list[3]; unsigned bits : 3; };
`

describe('offsets', () => {
  it('are those of members, of their members and of elements, and unnamed unions do not count', async () => {
    const members = ['outer.first', 'outer.list', 'outer.list[1].a', 'outer.list[2].b', 'inner.c']
    const found = await memberOffsets(contextIn(await scratch()), await kernelWith(STRUCTURES), members)
    expect(Object.fromEntries(found)).toEqual({'outer.first': 0, 'outer.list': 8, 'outer.list[1].a': 24, 'outer.list[2].b': 48, 'inner.c': 8})
  })

  it('come with why some are not known', async () => {
    const found = await memberOffsets(contextIn(await scratch()), await kernelWith(STRUCTURES), ['outer.none', 'outer.list', 'none.a', 'outer.bits'])
    expect(found.get('outer.list')).toBe(8)
    expect(found.get('outer.none')).toBe("'struct outer' has no member named 'none'")
    expect(found.get('none.a')).toContain("'struct none'")
    expect(found.get('outer.bits')).toContain("bit-field")
  })

  it('are compiled once, and again for another kernel', async () => {
    const context = contextIn(await scratch())
    expect((await memberOffsets(context, await kernelWith(STRUCTURES), ['outer.list'])).get('outer.list')).toBe(8)
    const gone = {...(await kernelWith(STRUCTURES)), headers: async () => Promise.reject(new Error('asked again'))}
    expect((await memberOffsets(context, gone, ['outer.list'])).get('outer.list')).toBe(8)
    const other = await kernelWith(STRUCTURES.replace('char first', 'char first[16]'))
    expect((await memberOffsets(context, other, ['outer.list'])).get('outer.list')).toBe(16)
  })

  it('are those of what a series changes', async () => {
    const kernel = await kernelWith(STRUCTURES)
    const changed = await scratch()
    await mkdir(join(changed, 'linux'))
    await writeFile(join(changed, 'linux/skbuff.h'), STRUCTURES.replace('char first', 'char first[32]'))
    const patched = {...kernel, key: 'patched', headers: async (context: Context) => ({...(await kernel.headers(context)), before: [changed]})}
    expect((await memberOffsets(contextIn(await scratch()), patched, ['outer.list'])).get('outer.list')).toBe(32)
  })

  it('need no kernel where nothing is asked', async () => {
    expect((await memberOffsets(contextIn('/nowhere'), {} as Kernel, [])).size).toBe(0)
  })

  it('are not known of headers that do not compile, which is could-not-run', async () => {
    await expect(memberOffsets(contextIn(await scratch()), await kernelWith('this is no C'), ['outer.list'])).rejects.toThrow('the headers of linux of ours do not compile')
  })
})
