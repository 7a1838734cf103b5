import {describe, expect, it} from 'vitest'
import {guessModules, guessOptions, parseMakefile, unbuiltFiles} from '../../src/author/options.js'
import {type FilePatch} from '../../src/series/diff.js'

const TREE: Record<string, string> = {
  Kbuild: 'obj-y += drivers/\nobj-$(CONFIG_NET) += net/\n',
  'net/Makefile': 'obj-y := socket.o core/\nobj-$(CONFIG_INET) += ipv4/\nobj-$(CONFIG_NETFILTER) += netfilter/\n',
  'net/ipv4/Makefile': 'obj-y := route.o \\\n\tarp.o\nobj-$(CONFIG_IP_MROUTE) += ipmr.o\nobj-$(CONFIG_IP_MROUTE_COMMON) += ipmr_base.o\n',
  'net/ipv4/Kconfig': 'config IP_MROUTE\n\tbool "IP: multicast routing"\n\tselect IP_MROUTE_COMMON\n\nconfig IP_MROUTE_COMMON\n\tbool\n\nconfig INET\n\tbool "TCP/IP"\n',
  'net/netfilter/Makefile': 'nf_flow_table-objs := nf_flow_table_core.o\nnf_flow_table-$(CONFIG_NF_FLOW_TABLE_PROCFS) += nf_flow_table_procfs.o\nobj-$(CONFIG_NF_FLOW_TABLE) += nf_flow_table.o\n',
  'net/netfilter/Kconfig': 'config NF_FLOW_TABLE\n\ttristate "flow table"\n',
}

const read = async (path: string) => Promise.resolve(TREE[path])

function file(path: string, lines: string[] = []): FilePatch {
  return {kind: 'modify', path, oldPath: path, binary: false, hunks: [{oldStart: 1, oldLines: 0, newStart: 1, newLines: lines.length, lines}]}
}

async function options(...files: FilePatch[]): Promise<string[]> {
  return (await guessOptions(read, files)).map(({symbol}) => symbol)
}

describe('the options of a file', () => {
  it.each<[path: string, symbols: string[]]>([
    ['net/ipv4/ipmr.c', ['IP_MROUTE', 'INET', 'NET']],
    ['net/ipv4/arp.c', ['INET', 'NET']],
    ['net/socket.c', ['NET']],
    ['net/netfilter/nf_flow_table_core.c', ['NF_FLOW_TABLE', 'NETFILTER', 'NET']],
    ['net/netfilter/nf_flow_table_procfs.c', ['NF_FLOW_TABLE_PROCFS', 'NF_FLOW_TABLE', 'NETFILTER', 'NET']],
    ['net/ipv4/included.c', []],
    ['include/linux/mroute.h', []],
    ['elsewhere/a.c', []],
  ])('%s', async (path, symbols) => {
    expect(await options(file(path))).toEqual(symbols)
  })

  it('without a prompt cannot be asked for', async () => {
    expect(await options(file('net/ipv4/ipmr_base.c'))).toEqual(['INET', 'NET'])
  })

  it('are those that the series brings, first', async () => {
    expect(await options(file('net/ipv4/Kconfig', ['+config IP_NEW', '+\tbool "new"', ' config IP_OLD']), file('net/ipv4/arp.c'))).toEqual(['IP_NEW', 'INET', 'NET'])
  })

  it('say which file asks', async () => {
    expect(await guessOptions(read, [file('net/ipv4/arp.c'), file('net/ipv4/ipmr.c')])).toContainEqual({symbol: 'IP_MROUTE', path: 'net/ipv4/ipmr.c'})
  })
})

it('files that no Makefile builds are named, and those that are no part of the kernel are not', async () => {
  const gone: FilePatch = {...file('net/ipv4/gone.c'), kind: 'delete'}
  const some = ['net/ipv4/arp.c', 'net/ipv4/ipmr.c', 'net/netfilter/nf_flow_table_core.c', 'net/ipv4/stray.c', 'elsewhere/a.c', 'include/linux/a.h', 'tools/testing/selftests/net/a.c'].map((path) => file(path))
  expect(await unbuiltFiles(read, [...some, gone])).toEqual(['net/ipv4/stray.c', 'elsewhere/a.c'])
})

it('a file that can be a module is in that, also as a part', async () => {
  expect(await guessModules(read, [file('net/netfilter/nf_flow_table_core.c'), file('net/ipv4/ipmr.c'), file('net/socket.c')])).toEqual(['nf_flow_table'])
})

it('a Makefile that includes itself in circles has an end', async () => {
  const circle = async (path: string) => Promise.resolve(path === 'a/Makefile' ? 'b-y := c.o\nc-y := b.o\nb-objs := b.o\n' : undefined)
  expect(await guessOptions(circle, [file('a/c.c')])).toEqual([])
  expect(await guessModules(circle, [file('a/c.c')])).toEqual([])
})

it('rules may go on in the next line, and end at a comment', () => {
  expect(parseMakefile('obj-$(CONFIG_A) += a.o \\\n  b.o # c.o\nccflags-y += -O2\n')).toEqual([
    {whole: 'obj', option: 'A', parts: ['a.o', 'b.o']},
    {whole: 'ccflags', option: undefined, parts: ['-O2']},
  ])
})
