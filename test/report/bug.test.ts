import {cp, mkdir, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {create} from 'tar'
import {describe, expect, it} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {readRouterArchive} from '../../src/report/archive.js'
import {type Moment, momentOf, parseMoments} from '../../src/report/artefacts.js'
import {bugReport, type BugRun, commandOf} from '../../src/report/bug.js'
import {type Result, type TestRow} from '../../src/run/results.js'
import {scratch} from '../support/scratch.js'

const OLD = '02:00:00:00:03:00'
const NEW = '02:00:00:00:01:0e'
const FLOW = 'ipv4     2 udp      17 src=10.0.0.2 dst=198.51.100.53 sport=20030 dport=53 [UNREPLIED] src=198.51.100.53 dst=10.0.0.1 sport=53 dport=20030'
const OTHER = 'ipv4     2 udp      17 27 src=10.0.0.1 dst=10.0.0.4 sport=42272 dport=9 [UNREPLIED] src=10.0.0.4 dst=10.0.0.1 sport=9 dport=42272 mark=0'

const moment = (title: string, flag: string, slow: number) => `==== ${title}
$ cat /proc/net/nf_conntrack
${OTHER}
${FLOW}${flag} mark=0 zone=0 use=2
$ ip -4 neigh
10.0.0.2 dev lan lladdr ${NEW} STALE
10.0.0.4 dev lan lladdr ${OLD} REACHABLE
$ nft list ruleset
table inet lab {
	chain forward {
		counter packets ${slow} bytes 58 comment "packets on the slow path"
		meta l4proto { tcp, udp } flow add @ft
	}
}
`

const frame = (time: string, mac: string, text: string) =>
  `${time} 02:00:00:00:00:01 > ${mac}, ethertype IPv4 (0x0800), length 43: (tos 0x0, proto UDP (17))\n    ${text}\n`
const ANSWER = '198.51.100.53.53 > 10.0.0.2.20030: domain [length 1 < 12] (invalid)'

function test(name: string, base: TestRow['base'], variant: TestRow['variant'], observed: {base: string; variant: string}, claimed = true): TestRow {
  return {name, role: 'symptom', claimed, base, variant, observed}
}

const SEEN = {
  base: `0 of 2 replies; 0 to ${NEW} (client), 2 to ${OLD} (gateway); conntrack [UNREPLIED] [OFFLOAD]`,
  variant: `2 of 2 replies; 2 to ${NEW} (client), 0 to ${OLD} (gateway); conntrack no flag`,
}

/** A run with one case, whose evidence is as a reproducer leaves it. */
async function aRun(): Promise<BugRun> {
  const folder = await scratch()
  const evidence = join(folder, 'wrong-mac/debian-6.12.117')
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(evidence, path)), {recursive: true})
    await writeFile(join(evidence, path), text)
  }
  const otherMoment = moment('something else, udp6', ' [OFFLOAD]', 7)
  await write('base-1/base/tables.log', otherMoment + moment('2 queries at once, udp4', ' [OFFLOAD]', 2))
  await write('base-1/base/symptom-pbr.txt', frame('11:00:00.000001', OLD, '10.0.0.1.42272 > 10.0.0.4.9: UDP, length 0') + frame('11:00:01.000001', OLD, ANSWER))
  await write('guard-patched-1/patched/tables.log', moment('2 queries at once, udp4', '', 4))
  await write('guard-patched-1/patched/symptom-client.txt', frame('12:00:00.000001', NEW, ANSWER))
  const common = {case: 'wrong-mac', kernel: 'debian 6.12.117', reasons: [], selftests: [], repeats: 1, evidence}
  const tests = (variant: TestRow['variant'], text: string) => [
    test('mark-reply-mac4', 'failed', variant, {base: SEEN.base, variant: text}),
    test('another-bug', 'failed', 'failed', {base: 'of another bug', variant: 'of another bug'}, variant === 'failed'),
    {...test('works', 'passed', 'passed', {base: '', variant: ''}), role: 'control' as const},
  ]
  const results: Result[] = [
    {...common, variant: 'base', candidate: null, verdict: 'shown', expected: 'shown', tests: tests('failed', SEEN.base)},
    {...common, variant: 'patched', candidate: 'guard', verdict: 'fixed', expected: 'fixed', tests: tests('passed', SEEN.variant)},
    {...common, variant: 'patched', candidate: 'as-proposed', verdict: 'not-fixed', expected: 'not-fixed', tests: tests('failed', SEEN.base), reasons: ["it ends the block\n```\n# here"]},
  ]
  const pair = {case: 'wrong-mac', title: 'replies go to the wrong MAC', kernel: 'debian 6.12.117', release: '6.12.117+deb12-amd64', origin: {image: '1'}}
  return {results, pairs: [{...pair, parameters: {}, livepatches: [], candidates: [], modules: {}, sessions: []}] as unknown as BugRun['pairs'], leftOut: [], folder, version: '0.1.0'}
}

describe.each(['openwrt', 'netfilter'] as const)('the report for %s', (upstream) => {
  it('has what was seen, what was tried and what is asked for', async () => {
    const text = await bugReport(await aRun(), {upstream})
    expect(text).toContain(`mark-reply-mac4: ${SEEN.base}`)
    expect(text).toContain('2 of 2 replies')
    expect(text).toMatch(/as-proposed.*not-fixed/)
    expect(text).not.toContain('of another bug')
    expect(text).toContain('1/1 controls pass')
    // The connection and its frame to the wrong MAC, before; to the right one, after.
    expect(text).toContain(`${FLOW} [OFFLOAD]`)
    expect(text).not.toContain('10.0.0.1.42272 >')
    const [before, after] = [text.indexOf('11:00:01.000001'), text.indexOf('12:00:00.000001')]
    expect(before).toBeGreaterThan(0)
    expect(after).toBeGreaterThan(before)
    expect(text).toContain('counter packets 2 bytes 58')
    expect(text).toContain('counter packets 4 bytes 58')
    expect(text).not.toContain('counter packets 7')
    expect(text).toContain(`10.0.0.2 dev lan lladdr ${NEW} STALE`)
    expect(text.match(/\(not in the evidence; 'patchbench router collect' gathers it/g)).toHaveLength(2)
  })

  it('takes what a router gathered, and ends no block that it quotes', async () => {
    const router = new Map([
      ['system.txt', "DISTRIB_DESCRIPTION='OpenWrt 24.10.0'\nDISTRIB_TARGET='ramips/mt7621'\nDISTRIB_REVISION='r28427'\n"],
      ['ip/rules4.txt', '0:\tfrom all lookup local\n```\n\u001b[31mescape\n'],
      ['ip/routes4.txt', 'default via 10.0.0.3 dev br-lan table 100\n'],
      ['ethtool.txt', 'lan1: hw-tc-offload: on\n'],
    ])
    const text = await bugReport(await aRun(), {upstream, router})
    expect(text).toContain('default via 10.0.0.3 dev br-lan table 100')
    expect(text).toContain('lan1: hw-tc-offload: on')
    expect(text).not.toContain('not in the evidence')
    expect(text).not.toContain('\u001b')
    if (upstream === 'openwrt') {
      expect(text).toContain('OpenWrt 24.10.0')
      expect((text.match(/^```$/gm) ?? []).length % 2).toBe(0)
    }
  })
})

it.each([
  [{symptom: 'works'}, /--symptom works: base shows mark-reply-mac4, another-bug/],
  [{case: 'nonsense'}, /--case nonsense: the run has wrong-mac/],
])('what the run has not is refused: %j', async (options, message) => {
  await expect(bugReport(await aRun(), {upstream: 'openwrt', ...options})).rejects.toThrow(message)
})

const BY_NAT = {probe: 'destroyed', caller: 'nf_nat_inet_fn [nf_nat]', count: 8, frames: ['ip_output', 'nf_hook_slow', 'nf_nat_inet_fn [nf_nat]', 'nf_ct_delete [nf_conntrack]'], folded: ''}
const BY_CLEAN_UP = {probe: 'destroyed', caller: 'nf_ct_iterate_cleanup [nf_conntrack]', count: 9, frames: ['cleanup_net', 'nf_ct_iterate_cleanup [nf_conntrack]', 'nf_ct_delete [nf_conntrack]'], folded: ''}
const entry = (time: number, kind: string, name: string, text: string) => ({time, kind, name, text})

/** A run about rules, traced, with captures that name no MAC address. */
async function aRunOfRules(): Promise<BugRun> {
  const run = await aRun()
  const [base, fixed] = run.results as [Result, Result]
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(run.folder, path)), {recursive: true})
    await writeFile(join(run.folder, path), text)
    return join(run.folder, path)
  }
  const capture = join(base.evidence, 'base-1/base/symptom-wan1')
  await cp(projectPath('test/fixtures/captures/vrf-base.pcap'), `${capture}.pcap`)
  await writeFile(`${capture}.txt`, '')
  await write('wrong-mac/debian-6.12.117/base-1/base/tables.log', '==== the router\n$ ip -4 rule\n9: from all fwmark 0x30/0xff lookup 30\n$ ip -4 route show table all\ndefault via 192.0.2.2 table 30\n')
  const rulesets = [
    {name: 'base', files: {nft: await write('rulesets/base.nft', 'meta mark set 0x36\naccept\n'), iptables: await write('rulesets/base.iptables', 'of another form\n')}},
    {name: 'guard', files: {nft: await write('rulesets/guard.nft', 'meta mark set 0x36\n'), iptables: await write('rulesets/guard.iptables', 'of another form\n')}},
  ]
  const clock = {name: 'tai', ahead: 0, uncertainty: 0}
  const timeline = [
    entry(1_000_000, 'probe', 'destroyed', 'mark=48 from nf_ct_iterate_cleanup [nf_conntrack] (kworker-1)'),
    ...Array.from({length: 9}, (_, index) => entry(1_000_001 + index, 'packet', 'wan1', `packet ${index}`)),
    entry(1_000_100, 'probe', 'destroyed', 'mark=48 from nf_nat_inet_fn [nf_nat] (python3-1)'),
    entry(1_000_200, 'conntrack', 'router', '[DESTROY] tcp ESTABLISHED'),
  ]
  const trace = (stacks: readonly object[]) => ({evidence: '', notes: [], clock, probes: [], stacks, timeline}) as unknown as NonNullable<Result['trace']>
  const nft = (one: Result): Result => ({...one, tests: [{...one.tests[0]!, name: 'entry-nft4', observed: {base: '[DESTROY] ESTABLISHED', variant: 'the entry lives'}}, one.tests[2]!]})
  const results = [{...nft(base), trace: trace([BY_CLEAN_UP, BY_NAT, {...BY_NAT, count: 2, frames: ['by_another_way', ...BY_NAT.frames]}])}, {...nft(fixed), trace: trace([BY_CLEAN_UP])}]
  return {...run, results, pairs: [{...run.pairs[0]!, rulesets: rulesets as unknown as BugRun['pairs'][0]['rulesets']}]}
}

describe.each(['openwrt', 'netfilter'] as const)('the report about rules for %s', (upstream) => {
  it('has the rules, what leads by them, the stack that the fix has not, and the packets that tell', async () => {
    const text = await bugReport(await aRunOfRules(), {upstream})
    expect(text).toMatch(/The rules are the cause: the kernel is the same/)
    expect(text).not.toContain('[BUG]')
    expect(text).toContain('base.nft, as it was loaded in the machine')
    expect(text).not.toContain('of another form')
    expect(text).toMatch(/^ *-accept$/m)
    expect(text).toContain('9: from all fwmark 0x30/0xff lookup 30')
    expect(text).toContain('default via 192.0.2.2 table 30')
    expect(text).toMatch(/destroyed from nf_nat_inet_fn \[nf_nat\], 10 times, innermost first:\s+(```\n)? *nf_ct_delete \[nf_conntrack\]\n *nf_nat_inet_fn \[nf_nat\]\n *nf_hook_slow\n/)
    expect(text).not.toContain('cleanup_net')
    expect(text).not.toContain('by_another_way')
    expect(text).toMatch(/packet 8\n.*from nf_nat_inet_fn \[nf_nat\] \(python3-1\)\n.*\[DESTROY\] tcp ESTABLISHED/)
    expect(text).not.toContain('packet 1\n')
    expect(text).toMatch(/^ *0\.000000 {2}\S+ > \S+: /m)
    expect(text).not.toMatch(/offloaded|hw-tc-offload|Counters/)
  })

  it('says that nothing was tried where that is so', async () => {
    const run = await aRunOfRules()
    const text = await bugReport({...run, results: run.results.slice(0, 1)}, {upstream})
    expect(text).toMatch(/the run has base alone/)
    // Nor does it claim what nothing of it shows.
    expect(text).not.toContain('The rules are the cause')
    expect(text).toMatch(/The case takes the rules for the cause/)
    expect(text).toContain('destroyed from nf_nat_inet_fn')
  })
})

it('the command is that of the run, for one case, without what is about its output', () => {
  const pairs = [{case: 'wrong-mac'}, {case: 'other'}] as BugRun['pairs']
  const of = (command: string | undefined) => commandOf({command, pairs}, {case: 'wrong-mac'})
  const options = "--source ../firewall4 --ucode 'a b/ucode' --kernel 6.12 --candidate guard"
  expect(of(`patchbench compare other wrong-mac ${options} --jobs 1 --json --output /tmp/x`)).toBe(`patchbench compare wrong-mac ${options}`)
  expect(of('patchbench compare --output=/tmp/x --variant base')).toBe('patchbench compare wrong-mac --variant base')
  expect(of('patchbench watch wrong-mac')).toBe('patchbench compare wrong-mac')
  expect(of(undefined)).toBe('patchbench compare wrong-mac')
})

describe('the moment of a symptom', () => {
  const moments = (...titles: string[]): Moment[] => titles.map((title) => ({title, tables: new Map([['ip -4 neigh', `lladdr ${NEW}`]])}))

  it('is of its IP version, and has its MAC addresses in its title or else in its tables', () => {
    const symptom = {name: 'stale-mac4', observed: `20 to ${OLD}, 0 to ${NEW}`}
    expect(momentOf(moments('first, udp4', `${OLD} -> ${NEW}, udp6`, `${OLD} -> ${NEW}, udp4`), symptom)?.title).toBe(`${OLD} -> ${NEW}, udp4`)
    expect(momentOf(moments('first, udp6', 'second, udp4', 'third, udp4'), symptom)?.title).toBe('second, udp4')
    expect(momentOf(moments('only'), symptom)?.title).toBe('only')
    expect(momentOf([], symptom)).toBeUndefined()
  })

  it('is read as the reproducers write it', () => {
    expect(parseMoments('==== one\n$ a b\n1\n2\n$ c\n==== two\n$ d\n3\n')).toEqual([
      {title: 'one', tables: new Map([['a b', '1\n2'], ['c', '']])},
      {title: 'two', tables: new Map([['d', '3\n']])},
    ])
  })
})

describe("a router's archive", () => {
  it('is read by file', async () => {
    const folder = await scratch()
    await mkdir(join(folder, 'ip'))
    await writeFile(join(folder, 'manifest.json'), '{}')
    await writeFile(join(folder, 'ip/rules4.txt'), 'rules')
    await create({cwd: folder, file: join(folder, 'a.tar.gz'), gzip: true, prefix: 'router'}, ['manifest.json', 'ip/rules4.txt'])
    expect(await readRouterArchive(join(folder, 'a.tar.gz'))).toEqual(new Map([['manifest.json', '{}'], ['ip/rules4.txt', 'rules']]))
  })

  it('is refused when it is none', async () => {
    const folder = await scratch()
    await writeFile(join(folder, 'a'), 'no archive at all')
    await expect(readRouterArchive(join(folder, 'a'))).rejects.toThrow(/is no archive of 'router collect'/)
    await expect(readRouterArchive(join(folder, 'b'))).rejects.toThrow(/is no file/)
  })
})
