import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {findSplats, newSplats, type SplatKind} from '../../src/verdict/splat.js'

const FOLDER = join(import.meta.dirname, 'splats')

function log(name: string): string {
  return readFileSync(join(FOLDER, `${name}.log`), 'utf8')
}

type Golden = [name: string, kind: SplatKind, title: string, fingerprint: string]

const GOLDEN: Golden[] = [
  ['panic', 'panic', 'Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)', 'mount_block_root < prepare_namespace < kernel_init_freeable'],
  ['oops-null', 'oops', 'BUG: kernel NULL pointer dereference, address: 0000000000000010', 'fib_table_lookup < ip_route_output_key_hash_rcu < inet_rtm_getroute'],
  ['gpf-6.1', 'oops', 'general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP PTI', 'nf_ct_gc_expired < ____nf_conntrack_find < nf_conntrack_find_get'],
  ['gpf-6.12', 'oops', 'Oops: general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP PTI', 'nf_ct_gc_expired < ____nf_conntrack_find < nf_conntrack_find_get'],
  ['bug-at', 'bug', 'kernel BUG at net/core/skbuff.c:120!', 'skb_panic < skb_push < eth_header'],
  ['bug-bad-page', 'bug', 'BUG: Bad page state in process python3  pfn:04c21', 'bad_page < get_page_from_freelist < __alloc_pages_noprof'],
  ['warning', 'warning', 'WARNING: CPU: 0 PID: 342 at net/ipv4/ipmr.c:2034 ip_mr_forward+0x3a8/0x4b0', 'ip_mr_forward < ip_mr_input < ip_rcv'],
  ['refcount', 'warning', 'refcount_t: underflow; use-after-free.', 'refcount_warn_saturate < dst_release < skb_release_head_state'],
  ['lockdep-circular', 'lockdep', 'WARNING: possible circular locking dependency detected', '__mutex_lock < xt_find_table_lock < translate_table'],
  ['sleeping', 'lockdep', 'BUG: sleeping function called from invalid context at include/linux/sched/mm.h:337', '__kmalloc_cache_noprof < mr_mfc_seq_idx < ipmr_mfc_add'],
  ['atomic', 'lockdep', 'BUG: scheduling while atomic: ip/342/0x00000201', 'msleep < vrf_newlink < rtnl_newlink'],
  ['hard-lockup-6.1', 'soft-lockup', 'NMI watchdog: Watchdog detected hard LOCKUP on cpu 1', 'native_queued_spin_lock_slowpath < _raw_spin_lock_irqsave < vif_delete'],
  ['hard-lockup-6.12', 'soft-lockup', 'watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1', 'native_queued_spin_lock_slowpath < _raw_spin_lock_irqsave < vif_delete'],
  ['rcu-stall', 'rcu-stall', 'rcu: INFO: rcu_preempt self-detected stall on CPU', 'mr_mfc_find_any < ip_mr_forward < ip_mr_input'],
  ['kasan', 'kasan', 'BUG: KASAN: slab-use-after-free in ipmr_mfc_delete+0x1ab/0x260', 'ipmr_mfc_delete < ip_mroute_setsockopt < do_ip_setsockopt'],
  ['ubsan-6.1', 'ubsan', 'UBSAN: shift-out-of-bounds in net/ipv4/ipmr_base.c:88:23', 'vif_device_init < vif_add < ip_mroute_setsockopt'],
  ['ubsan-6.12', 'ubsan', 'UBSAN: array-index-out-of-bounds in net/ipv4/ipmr.c:1712:22', 'ipmr_ioctl < sock_do_ioctl < __x64_sys_ioctl'],
  ['netdevice-leak', 'leak', 'unregister_netdevice: waiting for lo to become free. Usage count = 2', 'unregister_netdevice: waiting for lo to become free. Usage count = N'],
  ['kmemleak', 'leak', 'kmemleak: 5 new suspected memory leaks (see /sys/kernel/debug/kmemleak)', 'kmemleak: N new suspected memory leaks (see /sys/kernel/debug/kmemleak)'],
]

describe('a kernel log', () => {
  it.each(GOLDEN)('with %s has one splat', (name, kind, title, fingerprint) => {
    const splats = findSplats(log(name))
    expect(splats.map(({kind, title, fingerprint}) => ({kind, title, fingerprint}))).toEqual([
      {kind, title, fingerprint: `${kind}: ${fingerprint}`},
    ])
  })

  it('with suspicious RCU usage has one splat, told apart by who used it', () => {
    const [splat, ...others] = findSplats(log('lockdep-rcu'))
    expect(others).toEqual([])
    expect(splat).toMatchObject({kind: 'lockdep', title: 'WARNING: suspicious RCU usage'})
    expect(splat?.fingerprint).toContain('ipmr_get_table < ip_mroute_setsockopt')
  })

  it('with a stall on another CPU has one splat', () => {
    expect(findSplats(log('rcu-stall-other'))).toMatchObject([{kind: 'rcu-stall', title: 'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:'}])
  })

  it('with two hung tasks has two splats', () => {
    expect(findSplats(log('hung-task')).map(({fingerprint}) => fingerprint)).toEqual([
      'hung-task: __mutex_lock < rtnl_lock < ip_mroute_setsockopt',
      'hung-task: __mutex_lock < addrconf_dad_work < process_one_work',
    ])
  })

  it('with a soft lockup that goes on has the same splat twice', () => {
    const splats = findSplats(log('soft-lockup'))
    expect(splats.map(({kind, title}) => [kind, title])).toEqual([
      ['soft-lockup', 'watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [python3:342]'],
      ['soft-lockup', 'watchdog: BUG: soft lockup - CPU#0 stuck for 52s! [python3:342]'],
    ])
    expect(splats[0]!.fingerprint).toBe(splats[1]!.fingerprint)
  })

  it('with a leak that is said again and again has one fingerprint', () => {
    const again = [10, 20, 30].map((second) => `[   ${second}.000001] unregister_netdevice: waiting for lo to become free. Usage count = ${second}\n`)
    const fingerprints = findSplats(again.join('')).map(({fingerprint}) => fingerprint)
    expect([...new Set(fingerprints)]).toEqual(['leak: unregister_netdevice: waiting for lo to become free. Usage count = N'])
  })

  it('with a warning and a later KASAN report has both', () => {
    expect(findSplats(log('two')).map(({fingerprint}) => fingerprint)).toEqual([
      'warning: ip_mr_forward < ip_mr_input < ip_rcv',
      'kasan: vif_add < ip_mroute_setsockopt < do_ip_setsockopt',
    ])
  })

  it('with an oops that becomes a panic has one splat', () => {
    expect(findSplats(log('oops-fatal')).map(({kind}) => kind)).toEqual(['oops'])
  })

  it('with a one-line splat before a warning has both, each with its own fingerprint', () => {
    expect(findSplats(log('leak-then-warning')).map(({fingerprint}) => fingerprint)).toEqual([
      'leak: unregister_netdevice: waiting for lo to become free. Usage count = N',
      'warning: ip_mr_forward < ip_mr_input < ip_rcv',
    ])
  })

  it('with an invalid wait context has one splat', () => {
    expect(findSplats(log('lockdep-wait-context')).map(({kind}) => kind)).toEqual(['lockdep'])
  })

  it('has a golden test for every file', () => {
    const told = ['lockdep-rcu', 'lockdep-wait-context', 'leak-then-warning', 'rcu-stall-other', 'hung-task', 'soft-lockup', 'two', 'oops-fatal', 'oops-null-again', 'kasan-again']
    const files = readdirSync(FOLDER).map((file) => file.replace(/\.log$/, ''))
    expect(files.filter((file) => !file.startsWith('none-')).sort()).toEqual([...GOLDEN.map(([name]) => name), ...told].sort())
  })
})

describe('look-alikes', () => {
  const names = readdirSync(FOLDER).filter((file) => file.startsWith('none-')).map((file) => file.replace(/\.log$/, ''))

  it('are there', () => {
    expect(names).toEqual(['none-boot', 'none-livepatch', 'none-user'])
  })

  it.each(names)('in %s are no splat', (name) => {
    expect(findSplats(log(name)).map(({title}) => title)).toEqual([])
  })

  it('stay none when a real splat stands among them', () => {
    const mixed = log('none-boot') + log('warning') + log('none-user')
    expect(findSplats(mixed).map(({kind}) => kind)).toEqual(['warning'])
  })
})

describe('a fingerprint', () => {
  const fingerprints = (name: string) => findSplats(log(name)).map(({fingerprint}) => fingerprint)

  it.each([
    ['oops-null', 'oops-null-again'],
    ['kasan', 'kasan-again'],
    ['gpf-6.1', 'gpf-6.12'],
    ['hard-lockup-6.1', 'hard-lockup-6.12'],
  ])('of %s is that of %s, whose addresses and processes differ', (one, other) => {
    expect(log(one)).not.toBe(log(other))
    expect(fingerprints(one)).toEqual(fingerprints(other))
  })

  it('differs between different bugs', () => {
    const all = GOLDEN.filter(([name]) => !['gpf-6.12', 'hard-lockup-6.12'].includes(name)).flatMap(([name]) => fingerprints(name))
    expect(new Set(all).size).toBe(all.length)
  })

  it('does not depend on how the log was written', () => {
    const plain = log('oops-null').replace(/^\[\s*\d+\.\d+\](\[\s*T\d+\])? /gm, '')
    const raw = plain.replace(/^/gm, '<4>[    9.000001] ').replaceAll('\n', '\r\n')
    const caller = plain.replace(/^/gm, '[    9.000001][   C0] ')
    for (const other of [plain, raw, caller]) expect(findSplats(other).map(({fingerprint}) => fingerprint)).toEqual(fingerprints('oops-null'))
  })

  it('tells the splats that base has not', () => {
    const base = findSplats(log('kasan'))
    const variant = [...findSplats(log('kasan-again')), ...findSplats(log('warning'))]
    expect(newSplats(variant, base).map(({kind}) => kind)).toEqual(['warning'])
    expect(newSplats(variant, []).length).toBe(2)
    expect(newSplats([], base)).toEqual([])
  })
})

it('keeps a splat\'s own lines, without prefixes, for the report', () => {
  const [splat] = findSplats(log('warning'))
  const lines = splat!.text.split('\n')
  expect(lines[0]).toBe(splat!.title)
  expect(lines.at(-1)).toBe('---[ end trace 0000000000000000 ]---')
  expect(splat!.text).not.toMatch(/livepatch: enabling|\r/)
})

it('finds nothing in an empty log', () => {
  expect(findSplats('')).toEqual([])
})
