import {describe, expect, it} from 'vitest'
import {closure, parseModulesDep} from '../../src/machine/initramfs.js'

// As depmod(8) writes it: what a module needs is complete, the nearest first.
const DEP = `kernel/drivers/net/vrf.ko.xz:
kernel/net/netfilter/nf_tables.ko.xz: kernel/net/netfilter/nfnetlink.ko.xz kernel/lib/libcrc32c.ko.xz
kernel/net/netfilter/nfnetlink.ko.xz:
kernel/net/netfilter/nf_flow_table.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko.xz kernel/lib/libcrc32c.ko.xz
kernel/net/netfilter/nf_conntrack.ko.xz: kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko.xz kernel/lib/libcrc32c.ko.xz
kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko.xz:
kernel/lib/libcrc32c.ko.xz:
kernel/net/sched/sch-fq.ko:
`

describe('modules.dep', () => {
  it('says which files each module needs', () => {
    const dependencies = parseModulesDep(DEP)
    expect(dependencies.size).toBe(8)
    expect(dependencies.get('kernel/drivers/net/vrf.ko.xz')).toEqual([])
    expect(dependencies.get('kernel/net/netfilter/nf_tables.ko.xz')).toEqual([
      'kernel/net/netfilter/nfnetlink.ko.xz',
      'kernel/lib/libcrc32c.ko.xz',
    ])
  })

  it('may be empty', () => {
    expect(parseModulesDep('').size).toBe(0)
    expect(parseModulesDep('\n\n').size).toBe(0)
  })
})

describe('the files that modules amount to', () => {
  const dependencies = parseModulesDep(DEP)
  const builtIn = new Set(['veth', 'nf_log_syslog'])

  it('are theirs and what they need, each once and in order', () => {
    expect(closure(['nf_flow_table', 'nf_tables'], dependencies, builtIn)).toEqual({
      paths: [
        'kernel/lib/libcrc32c.ko.xz',
        'kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko.xz',
        'kernel/net/netfilter/nf_conntrack.ko.xz',
        'kernel/net/netfilter/nf_flow_table.ko.xz',
        'kernel/net/netfilter/nf_tables.ko.xz',
        'kernel/net/netfilter/nfnetlink.ko.xz',
      ],
      unknown: [],
    })
  })

  it('are found whichever way the name is written', () => {
    expect(closure(['sch_fq'], dependencies, builtIn).paths).toEqual(['kernel/net/sched/sch-fq.ko'])
    expect(closure(['nf-tables'], dependencies, builtIn).paths).toContain('kernel/net/netfilter/nf_tables.ko.xz')
  })

  it('are none for what is built in', () => {
    expect(closure(['veth', 'nf-log-syslog'], dependencies, builtIn)).toEqual({paths: [], unknown: []})
  })

  it('are missing for what is neither, by the name that was asked for', () => {
    expect(closure(['vrf', 'no-such', 'veth'], dependencies, builtIn)).toEqual({paths: ['kernel/drivers/net/vrf.ko.xz'], unknown: ['no-such']})
  })

  it('are not those of a module that only ends alike', () => {
    expect(closure(['tables', 'nf'], dependencies, builtIn)).toEqual({paths: [], unknown: ['tables', 'nf']})
  })
})
