import {describe, expect, it} from 'vitest'
import {type CellAgreement, compareCells, differencesOf, exitOf, madeDifferences} from '../../src/bundle/agree.js'
import {type Claim} from '../../src/bundle/manifest.js'
import {reproductionJson, reproductionText} from '../../src/report/reproduction.js'
import {type Result} from '../../src/run/results.js'
import {type RunRecord} from '../../src/run/record.js'
import {RUN} from '../support/bundle.js'
import {FIXED, resultWith} from '../support/results.js'

const SAME = new Map([['debian 6.12.90', 'debian 6.12.90']])
const claims = (results: readonly Result[]) => results as readonly unknown[] as Claim[]

/** What was to be run: all of it. */
const CHOSEN = RUN.targets

function states(theirs: readonly Result[], ours: readonly Result[], kernels = SAME, chosen = CHOSEN): string[] {
  return compareCells(claims(theirs), ours, kernels, chosen).map(({state}) => state)
}

const changed = (index: number, more: Partial<Result>): Result[] => FIXED.map((one, at) => (at === index ? {...one, ...more} : one))

describe('cells', () => {
  it('that are the same are the same', () => {
    expect(states(FIXED, FIXED)).toEqual(['same', 'same', 'same'])
  })

  it('differ by verdict', () => {
    const [, cell] = compareCells(claims(FIXED), changed(1, {verdict: 'not-fixed', reasons: ['it still shows']}), SAME, CHOSEN)
    expect(cell).toMatchObject({state: 'differs', verdict: {theirs: 'fixed', ours: 'not-fixed'}, tests: [], reasons: ['it still shows']})
  })

  it('differ by a test, whatever the verdict', () => {
    const tests = FIXED[1]!.tests.map((test) => (test.name === 'unjoined' ? {...test, variant: 'failed' as const, observed: {base: '', variant: 'no copy'}} : test))
    const [, cell] = compareCells(claims(FIXED), changed(1, {tests}), SAME, CHOSEN)
    expect(cell).toMatchObject({state: 'differs', tests: [{name: 'unjoined', theirs: 'passed', ours: 'failed', observed: {ours: 'no copy'}}]})
  })

  it('differ by a test that only one of them has, on either side', () => {
    const fewer = changed(0, {tests: FIXED[0]!.tests.slice(1)})
    expect(states(FIXED, fewer)).toEqual(['differs', 'same', 'same'])
    expect(states(fewer, FIXED)).toEqual(['differs', 'same', 'same'])
    expect(compareCells(claims(FIXED), fewer, SAME, CHOSEN)[0]!.tests).toMatchObject([{name: 'one-copy', theirs: 'failed', ours: 'missing'}])
  })

  it('differ by a selftest', () => {
    const selftest = {name: 'selftests: net: x.sh', base: 'failed' as const, patched: 'passed' as const, observed: {base: '', patched: ''}}
    const theirs = changed(1, {selftests: [selftest]})
    expect(states(theirs, changed(1, {selftests: [{...selftest, patched: 'failed'}]}))).toEqual(['same', 'differs', 'same'])
    expect(states(theirs, FIXED)).toEqual(['same', 'differs', 'same'])
    expect(states(theirs, theirs)).toEqual(['same', 'same', 'same'])
  })

  it('of flaky repeats are compared by that alone', () => {
    const tests = FIXED[1]!.tests.map((test) => ({...test, variant: 'failed' as const}))
    expect(states(changed(1, {verdict: 'flaky'}), changed(1, {verdict: 'flaky', tests}))).toEqual(['same', 'same', 'same'])
    expect(states(changed(1, {verdict: 'flaky'}), FIXED)).toEqual(['same', 'differs', 'same'])
  })

  it('that could not run here say nothing', () => {
    expect(states(FIXED, changed(1, {verdict: 'could-not-run'}))).toEqual(['same', 'could-not-run', 'same'])
    expect(states(changed(1, {verdict: 'could-not-run'}), FIXED)).toEqual(['same', 'differs', 'same'])
  })

  it('are found on the kernel that stands for the author\'s', () => {
    const ours = FIXED.map((one) => ({...one, kernel: 'debian 6.12.95'}))
    expect(states(FIXED, ours, new Map([['debian 6.12.90', 'debian 6.12.95']]))).toEqual(['same', 'same', 'same'])
  })
})

describe('cells of one side only', () => {
  const OTHER = [{case: 'another', kernel: 'debian 6.12.90', variants: ['base' as const]}]

  it('are left out where nothing of them was to be run', () => {
    expect(states(FIXED, FIXED.slice(0, 1), SAME, OTHER)).toEqual(['same', 'left-out', 'left-out'])
  })

  it('are not reproduced where the run should have had them', () => {
    expect(states(FIXED, FIXED.slice(0, 1))).toEqual(['same', 'differs', 'differs'])
    expect(compareCells(claims(FIXED), FIXED.slice(0, 1), SAME, CHOSEN)[1]).toMatchObject({verdict: {theirs: 'fixed', ours: null}, reasons: ['the run that the bundle describes has no such cell']})
  })

  it('are shown where the author claims nothing', () => {
    expect(states(FIXED.slice(0, 1), FIXED)).toEqual(['same', 'not-claimed', 'not-claimed'])
    const ours = FIXED.map((one) => ({...one, kernel: 'debian 6.12.95'}))
    const [, cell] = compareCells(claims(FIXED.slice(0, 1)), ours, new Map([['debian 6.12.90', 'debian 6.12.95']]), CHOSEN)
    expect(cell).toMatchObject({kernel: {theirs: 'debian 6.12.90', ours: 'debian 6.12.95'}, verdict: {theirs: null, ours: 'fixed'}})
  })
})

describe('the exit code', () => {
  const exit = (...list: CellAgreement['state'][]) => exitOf(list.map((state) => ({state}) as CellAgreement))
  it('is that of the worst cell', () => {
    expect(exit('same', 'same', 'left-out')).toBe(0)
    expect(exit('same', 'differs', 'could-not-run')).toBe(1)
    expect(exit('same', 'could-not-run')).toBe(69)
    expect(exit('left-out')).toBe(69)
    expect(exit('same', 'not-claimed')).toBe(0)
    expect(exit('not-claimed')).toBe(69)
  })
})

describe('differences', () => {
  const FIREWALL4 = {version: 'c0ffee', commit: 'c0ffee', tree: 'deca', origin: {git: 'c0ffee'}, ucode: {ucode: 'a'.repeat(64)}}
  const with_ = (more: Partial<RunRecord>) => differencesOf({...RUN, firewall4: FIREWALL4}, {...RUN, firewall4: FIREWALL4, ...more}, SAME)
  it('are none between equals', () => {
    expect(with_({date: 'another', command: 'another'})).toEqual([])
  })

  it.each<[string, Partial<RunRecord>, string]>([
    ['the accelerator', {accelerator: 'kvm'}, 'accelerator: tcg / kvm'],
    ['the compiler', {tools: [RUN.tools[0]!, 'gcc (Debian 13) 13']}, 'gcc: gcc (Debian 12.2.0) 12.2.0 / gcc (Debian 13) 13'],
    ['a tool that is missing', {tools: [RUN.tools[1]!]}, 'QEMU: QEMU emulator version 7.2 / not there'],
    ['patchbench', {patchbench: {version: '0.2.0', revision: ''}}, 'patchbench: 0.1.0 (c0ffee) / 0.2.0'],
    ['what runs in the guest', {files: {'vm/agent.py': 'b'.repeat(64)}}, 'vm/agent.py: sha256:aaaaaaaaaaaa / sha256:bbbbbbbbbbbb'],
    ['a package of the kernel', {kernels: [{...RUN.kernels[0]!, origin: {image: '6.12.90-2 sha256:00ff'}}]}, 'image: 6.12.90-1 sha256:00ff / 6.12.90-2 sha256:00ff'],
    ['the source tree', {kernels: [{...RUN.kernels[0]!, tree: '7ee'}]}, 'debian 6.12.90: source tree: none / 7ee'],
    ['a tree of firewall4, and ucode', {firewall4: {...FIREWALL4, tree: '7ee', ucode: {ucode: 'b'.repeat(64)}}}, 'firewall4: tree: c0ffee (deca) / c0ffee (7ee), ucode: ucode: sha256:aaaaaaaaaaaa / sha256:bbbbbbbbbbbb'],
    ['no firewall4 where none was needed', {firewall4: null}, ''],
    ['the repeats', {repeats: 3}, 'repeats: 1 / 3'],
    ["a root of one's own", {ownRoot: true}, "the guest's root: of packages / of your own"],
  ])('name %s', (_, more, words) => {
    expect(with_(more).map(({what, theirs, ours}) => `${what}: ${theirs} / ${ours}`).join(', ')).toBe(words)
  })

  it('name the kernel that stands for another, first', () => {
    const ours = {...RUN, accelerator: 'kvm' as const, kernels: [{...RUN.kernels[0]!, label: 'debian 6.12.95', release: '6.12.95+deb12-amd64'}]}
    const found = differencesOf(RUN, ours, new Map([['debian 6.12.90', 'debian 6.12.95']]))
    expect(found[0]).toEqual({what: 'kernel', theirs: 'debian 6.12.90', ours: 'debian 6.12.95'})
    expect(found.map(({what}) => what)).toEqual(['kernel', 'debian 6.12.90: release', 'accelerator'])
  })

  it('do not name where the same tree was taken from', () => {
    const built = {...RUN.kernels[0]!, kind: 'built' as const, tree: '7ee'}
    expect(differencesOf({...RUN, kernels: [built]}, {...RUN, kernels: [{...built, origin: {git: 'decaf'}}]}, SAME)).toEqual([])
  })

  it('name fragments of configurations where a kernel was built', () => {
    const files = {...RUN.files, 'kconfigs/boot.config': 'a'.repeat(64)}
    const built = [{...RUN.kernels[0]!, kind: 'built' as const}]
    expect(differencesOf({...RUN, files}, RUN, SAME)).toEqual([])
    expect(differencesOf({...RUN, files, kernels: built}, {...RUN, kernels: built}, SAME).map(({what}) => what)).toEqual(['kconfigs/boot.config'])
  })

  it('name configurations that were kept on both sides and are not the same', () => {
    const file = 'kernels/debian-6.12.90.config'
    const record = (files: Record<string, string>): RunRecord => ({...RUN, files})
    expect(differencesOf(record({[file]: 'a'.repeat(64)}), record({[file]: 'b'.repeat(64)}), SAME).map(({what}) => what)).toEqual(['debian 6.12.90: .config'])
    expect(differencesOf(record({[file]: 'a'.repeat(64)}), record({}), SAME)).toEqual([])
  })
})

describe('what was made', () => {
  const made = {modules: {'one debian 6.12.90 input': 'a'.repeat(64)}, trees: {'one debian 6.12.90 fix': '7ee'}}

  it('is compared by kernels that stand for each other', () => {
    const ours = {modules: {'one debian 6.12.95 input': 'b'.repeat(64)}, trees: {'one debian 6.12.95 fix': 'deca'}}
    expect(madeDifferences(made, ours, new Map([['debian 6.12.90', 'debian 6.12.95']]))).toEqual([
      {what: 'one debian 6.12.90 input: module', theirs: 'sha256:aaaaaaaaaaaa', ours: 'sha256:bbbbbbbbbbbb'},
      {what: 'one debian 6.12.90 fix: patched tree', theirs: '7ee', ours: 'deca'},
    ])
  })

  it('is not compared where one of the two made nothing', () => {
    expect(madeDifferences(made, made, SAME)).toEqual([])
    expect(madeDifferences(made, {modules: {}, trees: {}}, SAME)).toEqual([])
  })
})

describe('the report', () => {
  const report = (ours: readonly Result[], more = {}) => {
    const cells = compareCells(claims(FIXED), ours, SAME, CHOSEN)
    return {exit: exitOf(cells), signer: null, signed: false, differences: [], cells, folder: '/runs/one', accelerator: 'tcg (asked for)', ...more}
  }

  it('ends with what it amounts to', () => {
    const last = (ours: readonly Result[]) => reproductionText(report(ours)).split('\n').at(-1)
    expect(last(FIXED)).toBe("reproduced here: 3 of 3 cells are the author's, by verdict and by test")
    expect(last(changed(1, {verdict: 'not-fixed'}))).toBe("not reproduced here: 2 of 3 cells are the author's, by verdict and by test")
    expect(last(changed(1, {verdict: 'could-not-run'}))).toMatch(/^could not run here: 2 of 3/)
  })

  it('lists differences before the cells, and shows theirs beside ours', () => {
    const text = reproductionText(report(changed(1, {verdict: 'not-fixed', reasons: ['it still shows']}), {differences: [{what: 'accelerator', theirs: 'kvm', ours: 'tcg'}]}))
    expect(text.indexOf('possible reasons')).toBeLessThan(text.indexOf("author's  here"))
    expect(text).toMatch(/accelerator +kvm +tcg/)
    expect(text).toMatch(/one +debian 6\.12\.90 +livepatched +input +fixed +not-fixed +differs/)
    expect(text).toContain('one, livepatched (input): it still shows')
  })

  it('says who signed, and shows no control characters of a stranger', () => {
    expect(reproductionText(report(FIXED, {signer: 'ann@example.org', signed: true}))).toContain('signed by ann@example.org')
    expect(reproductionText(report(FIXED, {signed: true}))).toContain('--verify KEYS finds out')
    const tests = [...FIXED[0]!.tests, ...resultWith({tests: [{name: 'x\u001b[2J', variant: 'failed', observed: {base: '', variant: '\u001b[31mred'}}]}).tests]
    const text = reproductionText(report(changed(0, {tests})))
    expect(text).not.toContain('\u001b')
    expect(text).toContain('here failed (red)')
  })

  it('is one JSON document', () => {
    const parsed = JSON.parse(reproductionJson(report(FIXED))) as Record<string, unknown>
    expect(parsed).toMatchObject({schema: 1, reproduced: true, exit: 0, folder: '/runs/one'})
    expect(JSON.parse(reproductionJson(report(changed(0, {verdict: 'not-reproduced'}))))).toMatchObject({reproduced: false, exit: 1})
  })
})
