import {execa} from 'execa'
import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it, vi} from 'vitest'
import {checkSeries} from '../../src/submit/check.js'
import {complaintsIn} from '../../src/submit/checkpatch.js'
import {newReports} from '../../src/submit/coccinelle.js'
import {maintainersIn} from '../../src/submit/maintainers.js'
import {keepCheck, lastCheck} from '../../src/submit/record.js'
import {leftOutBy, type Row, worst} from '../../src/submit/rows.js'
import {numbered} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {COCCI, diffOf, letter, type Letter, seriesOf, SIGNED, sourceAt, tree} from '../support/submit.js'

// Each runs git and perl many times.
vi.setConfig({testTimeout: 120_000})

const OWN = {name: 'Ann Author', email: 'ann@example.org'}
const TEST = {'tools/testing/selftests/net/a.sh': 'true\n'}

type Tree = Awaited<ReturnType<typeof tree>>

async function check({source}: Pick<Tree, 'source'>, ...mails: string[]): Promise<Row[]> {
  return await checkSeries(contextIn(await scratch()), {series: await seriesOf(...mails), source, kernel: '--no-build', own: OWN})
}

/** A letter that has nothing against it: one of a fix with its Fixes tag, its test and all recipients. */
async function good({repo, fixed}: Tree): Promise<Letter> {
  return {
    diff: await diffOf(repo, {'net/a.c': numbered(40, {20: 'changed'}), ...TEST}),
    header: 'To: "Mae N. Tainer" <mae@example.org>, netdev@example.org\nCc: Rev Iewer <rev@example.org>\n',
    fixes: `Fixes: ${fixed.slice(0, 12)} ("net: add c")\n`,
  }
}

function of(rows: readonly Row[], check: string): Row[] {
  const found = rows.filter((row) => row.check === check)
  expect(found, check).not.toEqual([])
  return found
}

it('has nothing against a series that is as it should be, and names what it did not run', async () => {
  const one = await tree()
  const rows = await check(one, letter(await good(one)))
  expect(rows.filter(({state}) => state === 'warned' || state === 'failed')).toEqual([])
  const passed = rows.filter(({state}) => state === 'passed').map(({check: name}) => name)
  expect(passed).toEqual(['applies', 'checkpatch', 'maintainers', 'fixes', 'signed-off-by', 'from', 'subject', 'numbering', 'changelog', 'netdev-prefix', 'netdev-size', 'netdev-cover', 'kconfig', 'documentation', 'selftest'])
  const left = rows.filter(({state}) => state === 'not-run').map(({check: name, reason}) => [name, reason])
  expect(left.slice(0, 4)).toEqual([['base-commit', 'the series states none; it was applied to linux 6.12.7'], ['build', '--no-build'], ['sparse', '--no-build'], ['compiled-in', '--no-build']])
  expect(left.slice(4).map(([name]) => name)).toEqual(['coccinelle'])
})

/** What is wrong with a letter, which row says so, how, and with which words. */
const BROKEN: [what: string, check: string, state: 'warned' | 'failed', words: RegExp, change: (good: Letter, one: Tree) => Letter | Promise<Letter>][] = [
  ['a hunk that fits nowhere', 'applies', 'failed', /^net\/a\.c:\d+: hunk at line 17 fits nowhere; the nearest place is line 17$/, (one) => ({...one, diff: one.diff!.replace('line 19', 'another')})],
  ['a bad line', 'checkpatch', 'failed', /^net\/a\.c:20: SPACING: spaces required/, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: 'BAD'}), ...TEST})})],
  ['an odd line', 'checkpatch', 'warned', /^net\/a\.c:20: CAMELCASE: /, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: 'oddName'}), ...TEST})})],
  ['a word of its message', 'checkpatch', 'warned', /^series\.mbox: TYPO_SPELLING: 'teh'/, (one) => ({...one, message: 'It was teh end.\n'})],
  ['no maintainer', 'maintainers', 'failed', /mae@example\.org \(maintainer:NETWORKING \[GENERAL\]\) is in neither/, (one) => ({...one, header: 'To: netdev@example.org\nCc: rev@example.org\n'})],
  ['no list', 'maintainers', 'failed', /netdev@example\.org \(open list/, (one) => ({...one, header: 'To: mae@example.org\nCc: rev@example.org\n'})],
  ['no reviewer', 'maintainers', 'warned', /rev@example\.org \(reviewer/, (one) => ({...one, header: 'To: mae@example.org,\n netdev@example.org\n'})],
  ['no Fixes tag', 'fixes', 'failed', /no Fixes tag/, (one) => ({...one, fixes: ''})],
  ['a Fixes tag of no commit', 'fixes', 'failed', /Fixes: 0123456789ab is no commit/, (one) => ({...one, fixes: 'Fixes: 0123456789ab ("net: add c")\n'})],
  ['a Fixes tag with another subject', 'fixes', 'failed', /has the subject 'net: add c', not 'net: add d'/, (one) => ({...one, fixes: one.fixes!.replace('add c', 'add d')})],
  ['a short Fixes tag', 'fixes', 'failed', /is not in the form of/, (one) => ({...one, fixes: one.fixes!.replace(/Fixes: .{6}/, 'Fixes: ')})],
  ['no Signed-off-by', 'signed-off-by', 'failed', /no Signed-off-by/, (one) => ({...one, signed: ''})],
  ["somebody else's Signed-off-by", 'signed-off-by', 'failed', /the author Ann Author <ann@example\.org> has not signed off/, (one) => ({...one, signed: 'Signed-off-by: Bob <bob@example.org>\n'})],
  ['another address of hers', 'signed-off-by', 'warned', /signs off as ann@example\.com/, (one) => ({...one, signed: 'Signed-off-by: Ann Author <ann@example.com>\n'})],
  ['a Signed-off-by without an address', 'signed-off-by', 'failed', /has no address/, (one) => ({...one, signed: 'Signed-off-by: Ann Author\n'})],
  ['a last Signed-off-by of nobody who sends it', 'signed-off-by', 'failed', /the last Signed-off-by is that of Bob <bob/, (one) => ({...one, signed: `${SIGNED}Signed-off-by: Bob <bob@example.org>\n`})],
  ['a chain in the wrong order', 'signed-off-by', 'failed', /Bob signs off before the author/, (one) => ({...one, signed: `Signed-off-by: Bob <bob@example.org>\n${SIGNED}`})],
  ['a co-developer who did not sign off', 'signed-off-by', 'failed', /'Co-developed-by: Bob <bob@example\.org>' is not followed/, (one) => ({...one, signed: `Co-developed-by: Bob <bob@example.org>\n${SIGNED}`})],
  ['a subject that turns the terminal red', 'subject', 'failed', /the subject has U\+001B, which nobody sees/, (one) => ({...one, subject: '[PATCH net] net: \u001b[31mdo it'})],
  ['a subject that is written backwards', 'subject', 'failed', /the subject has U\+202E/, (one) => ({...one, subject: '=?utf-8?q?[PATCH_net]_net:_do_=E2=80=AEti?='})],
  ['a name with what nobody sees', 'from', 'failed', /^series\.mbox: the author's From has U\+001B, U\+200B, which nobody sees/, (one) => ({...one, from: '=?utf-8?q?Ann_=1B[31m=E2=80=8BAuthor?= <ann@example.org>'})],
  ['a long subject', 'subject', 'failed', /has \d\d characters, 75 are the most/, (one) => ({...one, subject: `[PATCH net] net: ${'long '.repeat(16)}end`})],
  ['a subject without [PATCH]', 'subject', 'failed', /no \[PATCH\]/, (one) => ({...one, subject: '[net] net: do it'})],
  ['a subject without a subsystem', 'subject', 'warned', /does not begin with a subsystem/, (one) => ({...one, subject: '[PATCH net] Do it'})],
  ['a subject with a full stop', 'subject', 'warned', /full stop/, (one) => ({...one, subject: '[PATCH net] net: do it.'})],
  ['a number that is not its own', 'numbering', 'failed', /patch 1 of 1 says 2\/3/, (one) => ({...one, subject: '[PATCH net 2/3] net: do it'})],
  ['no tree', 'netdev-prefix', 'failed', /names no tree/, (one) => ({...one, subject: '[PATCH] net: do it'})],
  ['a tree that is none', 'netdev-prefix', 'failed', /'network' is no tree/, (one) => ({...one, subject: '[PATCH network] net: do it'})],
  ['v2 without a changelog', 'changelog', 'failed', /v2 without a changelog/, (one) => ({...one, subject: '[PATCH net v2] net: do it'})],
  ['a changelog in the message', 'changelog', 'failed', /above the ---/, (one) => ({...one, subject: '[PATCH net v2] net: do it', message: 'Why.\n\nChanges in v2:\n- more\n'})],
  ['an option that no Kconfig has', 'kconfig', 'failed', /^net\/a\.c:20: CONFIG_NET_NEW is used/, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: '#ifdef CONFIG_NET_NEW'}), ...TEST})})],
  ['a sysctl that nothing documents', 'documentation', 'warned', /^net\/a\.c:20: the sysctl new_knob/, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: '\t.procname = "new_knob",'}), ...TEST})})],
  ['an interface that nothing documents', 'documentation', 'warned', /^include\/uapi\/linux\/n\.h: an interface/, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'include/uapi/linux/n.h': '#define NEW 1\n', ...TEST})})],
  ['no selftest', 'selftest', 'warned', /^net\/a\.c: code without a selftest/, async (one, {repo}) => ({...one, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: 'changed'})})})],
]

describe('a row complains of', () => {
  it.each(BROKEN)('%s: %s', async (_, row, state, words, change) => {
    const one = await tree()
    const rows = await check(one, letter(await change(await good(one), one)))
    const own = of(rows, row)
    expect(worst(own)).toBe(state)
    expect(own.map(({place, reason}) => `${place}: ${reason}`).join('\n')).toMatch(words)
    // And no other row fails for that, unless nothing applies.
    const others = rows.filter(({check: name, state: other}) => name !== row && other === 'failed' && row !== 'applies' && state !== 'warned')
    const follows: Record<string, string[]> = {subject: ['netdev-prefix'], 'signed-off-by': []}
    expect(others.filter(({check: name}) => !(follows[row] ?? []).includes(name)).map(({check: name, reason}) => `${name}: ${reason}`)).toEqual([])
  })

  it('too many patches, the missing cover letter and mixed trees of a series', async () => {
    const one = await tree()
    const mails: string[] = []
    for (let number = 1; number <= 16; number++) {
      const diff = await diffOf(one.repo, {[`net/new${number}.c`]: 'new\n'})
      mails.push(letter({subject: `[PATCH ${number === 3 ? 'net' : 'net-next'} ${number}/16] net: part ${number}`, diff}))
    }
    const rows = await check(one, ...mails)
    expect(of(rows, 'netdev-size')).toMatchObject([{state: 'failed', patch: null, reason: '16 patches, netdev takes 15 at once: split the series'}])
    expect(of(rows, 'netdev-cover')).toMatchObject([{state: 'failed', reason: expect.stringContaining('16 patches without a cover letter')}])
    expect(worst(of(rows, 'netdev-prefix'))).toBe('failed')
    const fewer = await check(one, ...mails.slice(3, 18).map((text, index) => text.replace(/\d+\/16\]/, `${index + 1}/13]`)))
    expect(of(fewer, 'netdev-size')).toMatchObject([{state: 'passed'}])
    expect(worst(of(fewer, 'netdev-prefix'))).toBe('passed')
    expect(worst(of(fewer, 'numbering'))).toBe('passed')
    expect(worst(of(await check(one, ...mails.slice(3, 5)), 'numbering'))).toBe('failed')
  })

  it('a cover letter that nobody wrote', async () => {
    const one = await tree()
    const cover = letter({subject: '[PATCH net 0/1] *** SUBJECT HERE ***', message: '*** BLURB HERE ***\n', signed: ''})
    const patch = letter({...(await good(one)), subject: '[PATCH net 1/1] net: do it'})
    expect(of(await check(one, cover, patch), 'netdev-cover')).toMatchObject([{state: 'failed', reason: 'the cover letter is not written yet'}])
    const written = cover.replace('*** SUBJECT HERE ***', 'do it').replace('*** BLURB HERE ***', 'It is done.')
    expect(of(await check(one, written, patch), 'netdev-cover')).toMatchObject([{state: 'passed'}])
  })

  it('no tree but a stable one', async () => {
    const one = await tree()
    expect(of(await check(one, letter({...(await good(one)), subject: '[PATCH 6.12.y] net: do it'})), 'netdev-prefix')).toMatchObject([{state: 'passed'}])
  })

  it('a series that is in the tree already', async () => {
    const one = await tree()
    const text = letter(await good(one))
    await one.repo.commit({'net/a.c': numbered(40, {20: 'changed'}), ...TEST})
    expect(of(await check(await sourceAt(one.repo), text), 'applies')).toMatchObject([{state: 'failed', reason: 'is in the tree already'}])
  })

  it('a patch after one that does not apply, by not running it', async () => {
    const one = await tree()
    const bad = letter({subject: '[PATCH net 1/2] net: one', diff: (await good(one)).diff!.replace('line 19', 'x')})
    const rows = await check(one, bad, letter({...(await good(one)), subject: '[PATCH net 2/2] net: two'}))
    expect(of(rows, 'applies').map(({patch, state}) => [patch, state])).toEqual([[1, 'failed'], [2, 'not-run']])
    expect(of(rows, 'coccinelle')).toMatchObject([{state: 'not-run', reason: 'it does not apply'}])
  })
})

describe('what is not run is said to be not run', () => {
  it('the Fixes tag, where the tree has no history', async () => {
    const {repo, fixed, ...one} = await tree()
    const letters = letter(await good({repo, fixed, ...one}))
    const flat = join(await scratch(), 'flat')
    await execa('git', ['clone', '-q', '--depth', '1', `file://${repo.folder}`, flat])
    const rows = await check({source: {...one.source, directory: flat}}, letters)
    expect(of(rows, 'fixes')).toMatchObject([{state: 'not-run', reason: expect.stringContaining('no history')}])
  })

  it('the scripts, where the tree has none', async () => {
    const one = await tree()
    const text = letter(await good(one))
    await one.repo.commit({'scripts/checkpatch.pl': null, 'scripts/get_maintainer.pl': null})
    const rows = await check(await sourceAt(one.repo), text)
    expect(of(rows, 'checkpatch')).toMatchObject([{state: 'not-run', reason: 'the tree has no scripts/checkpatch.pl'}])
    expect(of(rows, 'maintainers')).toMatchObject([{state: 'not-run'}])
  })

  it('the recipients, where there are none yet', async () => {
    const one = await tree()
    expect(of(await check(one, letter({...(await good(one)), header: ''})), 'maintainers')).toMatchObject([{state: 'not-run', reason: expect.stringContaining('which names 3')}])
  })

  it('the rules of the network, for a series that has nothing to do with it', async () => {
    const one = await tree()
    const rows = await check(one, letter({subject: '[PATCH] mm: do it', diff: await diffOf(one.repo, {'mm/a.c': 'x\n'})}))
    for (const name of ['netdev-prefix', 'netdev-size', 'netdev-cover', 'selftest']) expect(of(rows, name)).toMatchObject([{state: 'not-run'}])
    expect(of(rows, 'fixes')).toMatchObject([{state: 'passed'}])
  })

  it('a base-commit that is not there; one that is there is what the series is applied to', async () => {
    const one = await tree()
    const text = letter(await good(one))
    const stated = (hash: string) => text.replace('-- \n', `base-commit: ${hash}\n-- \n`)
    expect(of(await check(one, stated('0'.repeat(40))), 'base-commit')).toMatchObject([{state: 'not-run', reason: expect.stringContaining('states 000000000000')}])
    expect(of(await check(one, stated(one.source.commit)), 'base-commit')).toMatchObject([{state: 'passed'}])
  })
})

it('checks what OpenWrt asks of a commit, for firewall4 alone', async () => {
  const one = await tree()
  const series = async (from: string, signed: string) => await seriesOf(letter({from, signed, subject: '[PATCH] fw4: do it', diff: await diffOf(one.repo, {'x.uc': 'x\n'})}))
  const {checkDco} = await import('../../src/submit/signoff.js')
  const said = async (from: string, signed: string) => checkDco((await series(from, signed)).patches).map(({state, reason}) => `${state}: ${reason}`).join('\n')
  expect(await said('Ann Author <ann@example.org>', SIGNED)).toBe('passed: ')
  expect(await said('ann <ann@example.org>', 'Signed-off-by: ann <ann@example.org>\n')).toMatch(/^failed: the author 'ann <ann@example\.org>' is no real name/)
  expect(await said('Ann Author <1+ann@users.noreply.example.org>', 'Signed-off-by: Ann Author <1+ann@users.noreply.example.org>\n')).toMatch(/^failed: .*takes no mail/)
  expect(await said('Ann Author <ann@example.org>', 'Signed-off-by: Ann A. <ann@example.org>\n')).toMatch(/^failed: no 'Signed-off-by: Ann Author <ann@example\.org>'/)
})

describe('of firewall4', () => {
  const LONG_LINE = `${'words '.repeat(14)}\n`
  const RULES = {'root/usr/share/ucode/fw4.uc': 'x\n'}
  const TESTED = {...RULES, 'tests/01_a': 'x\n'}
  type Case = [what: string, check: string, state: 'passed' | 'warned' | 'failed', words: RegExp, letter: Letter, files?: Record<string, string>]

  it.each<Case>([
    ['a subject of 63 characters', 'openwrt-subject', 'failed', /the subject has 63 characters: OpenWrt recommends 50 at the most, and takes 60/, {subject: `[PATCH firewall4] fw4: ${'a'.repeat(58)}`}],
    ['a subject of 55 characters', 'openwrt-subject', 'warned', /has 55 characters/, {subject: `[PATCH firewall4] fw4: ${'a'.repeat(50)}`}],
    ['a capital letter', 'openwrt-subject', 'failed', /with a small letter after the prefix/, {subject: '[PATCH firewall4] fw4: Do it'}],
    ['no message', 'openwrt-message', 'failed', /no message besides the subject/, {message: ''}],
    ['long lines', 'openwrt-message', 'warned', /1 line of the message with more than 75/, {message: LONG_LINE}],
    ['a subject that does not name the project', 'openwrt-prefix', 'warned', /\[PATCH firewall4\]/, {subject: '[PATCH] fw4: do it'}],
    ['a change without a test', 'openwrt-tests', 'warned', /nothing of tests\/ is touched/, {}, RULES],
    ['the address of an issue as what it fixes', 'fixes', 'passed', /none is required/, {fixes: 'Fixes: https://example.org/issues/16\n'}],
    ['nothing', 'openwrt-tests', 'passed', /^: $/, {}],
  ])('%s', async (_, row, state, words, own, files = TESTED) => {
    const one = await tree()
    const source = {...one.source, tree: 'firewall4' as const}
    const rows = await check({source}, letter({subject: '[PATCH firewall4] fw4: do it', diff: await diffOf(one.repo, files), ...own}))
    expect(worst(of(rows, row))).toBe(state)
    expect(of(rows, row).map(({place, reason}) => `${state === 'passed' ? '' : place}: ${reason}`).join('\n')).toMatch(words)
    expect(rows.filter(({check: name, state: other}) => name !== row && other === 'failed')).toEqual([])
    for (const linux of ['coccinelle', 'kconfig', 'documentation', 'selftest']) expect(of(rows, linux)).toMatchObject([{state: 'not-run', reason: 'asked of linux, not of firewall4'}])
  })
})

it('runs the scripts of the base, not what a series makes of them', async () => {
  const one = await tree()
  const witness = join(await scratch(), 'ran')
  const diff = await diffOf(one.repo, {'scripts/checkpatch.pl': `open(F, '>', '${witness}'); print F "x";\n`, 'scripts/get_maintainer.pl': `open(F, '>', '${witness}');\n`})
  await check(one, letter({diff}))
  await expect(execa('cat', [witness])).rejects.toThrow()
})

describe('coccinelle', () => {
  it('reports what is new, moved lines aside', () => {
    const before = ['net/a.c:3:1-9: WARNING: one', 'net/a.c:9:1-9: WARNING: see line 12']
    expect(newReports(before, ['net/a.c:5:1-9: WARNING: one', 'net/a.c:11:1-9: WARNING: see line 14'])).toEqual([])
    expect(newReports(before, [...before, 'net/a.c:20:1-9: WARNING: one'])).toEqual([{state: 'warned', place: 'net/a.c:20', reason: 'WARNING: one'}])
  })

  it('complains of what a semantic patch of the tree reports, by a spatch that is installed', async () => {
    const one = await tree({'scripts/coccinelle/api/gone.cocci': COCCI})
    const bin = await fakeSpatch()
    const before = process.env.PATH
    process.env.PATH = `${bin}:${before}`
    try {
      const bad = letter({...(await good(one)), diff: await diffOf(one.repo, {'net/a.c': numbered(40, {20: 'gone(1);'}), ...TEST})})
      expect(of(await check(one, bad), 'coccinelle')).toMatchObject([{state: 'warned', place: 'net/a.c:20', reason: 'WARNING: gone() is gone'}])
      expect(of(await check(one, letter(await good(one))), 'coccinelle')).toMatchObject([{state: 'passed', reason: '1 semantic patches'}])
    } finally {
      process.env.PATH = before
    }
  })
})

it('leaves out what it is asked to, says so, and what was said of that before stays for send', async () => {
  process.env.XDG_STATE_HOME = await scratch()
  const one = await tree({'scripts/coccinelle/api/gone.cocci': COCCI})
  const series = await seriesOf(letter(await good(one)))
  const left = await checkSeries(contextIn(await scratch()), {series, source: one.source, kernel: leftOutBy('--no-build'), own: OWN, noCoccinelle: leftOutBy('--no-coccinelle')})
  expect(of(left, 'coccinelle')).toMatchObject([{state: 'not-run', reason: 'left out by --no-coccinelle'}])
  const failed: Row = {check: 'build', patch: 1, state: 'failed', place: 'net/a.c:1', reason: 'error'}
  const other: Row = {check: 'subject', patch: 1, state: 'failed', place: '', reason: 'too long'}
  await keepCheck(series, 'linux 6.12.7', [failed, other], new Date())
  await keepCheck(series, 'linux 6.12.7', left, new Date())
  const kept = (await lastCheck(series))!.rows
  expect(of(kept, 'build')).toEqual([failed])
  expect(of(kept, 'coccinelle')).toEqual(of(left, 'coccinelle'))
  expect(of(kept, 'subject')).not.toContainEqual(other)
  await keepCheck(series, 'another tree', left, new Date())
  expect(of((await lastCheck(series))!.rows, 'build')).toEqual(of(left, 'build'))
})

/** Prints what spatch prints of a call of gone(), in spatch's form. */
async function fakeSpatch(): Promise<string> {
  const bin = join(await scratch(), 'bin')
  await mkdir(bin)
  const script = `#!/bin/sh\nfor last; do :; done\ngrep -n 'gone(' "$last" | sed "s|^\\([0-9]*\\):.*|$last:\\1:0-4: WARNING: gone() is gone|"\n`
  await writeFile(join(bin, 'spatch'), script, {mode: 0o755})
  return bin
}

it('reads what checkpatch and get_maintainer print', () => {
  expect(complaintsIn(':5: WARNING:COMMIT_LOG: text\nnet/a.c:12: CHECK:X: y\nERROR:MISSING_SIGN_OFF: none\ntotal: 1\n', 'a.patch')).toEqual([
    {state: 'warned', place: 'a.patch', reason: 'COMMIT_LOG: text'},
    {state: 'warned', place: 'net/a.c:12', reason: 'X: y'},
    {state: 'failed', place: 'a.patch', reason: 'MISSING_SIGN_OFF: none'},
  ])
  expect(maintainersIn('"Q. Uoted" <q@example.org> (maintainer:A [B (C)],reviewer:D)\nlist@example.org (open list)\nq@example.org (x)\n')).toEqual([
    {name: 'Q. Uoted', email: 'q@example.org', role: 'maintainer:A [B (C)],reviewer:D'},
    {name: '', email: 'list@example.org', role: 'open list'},
  ])
})

