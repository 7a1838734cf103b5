import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {comparisonMarkdown, type RunFacts} from '../../src/report/markdown.js'
import {type PairRecord} from '../../src/run/compare.js'
import {type Result} from '../../src/run/results.js'
import {type KeptRuleset} from '../../src/ruleset/ruleset.js'
import {FIXED, RECORD} from '../support/results.js'
import {scratch} from '../support/scratch.js'

const FACTS: RunFacts = {
  date: '2026-11-20T06:00:00.000Z',
  version: '0.1.0',
  revision: 'abc1234, changed',
  command: "patchbench compare one --set 'a=b c'",
  folder: '/runs/one',
  tools: ['QEMU emulator version 7.2'],
  accelerator: 'tcg',
  why: 'asked for',
}

const frame = (time: string, mac: string, ttl: number) => `${time} ${mac} > 01:00:5e:01:02:03, IPv4, (ttl ${ttl}) 192.0.2.1 > 239.1.2.3: UDP\n`

/** A run's evidence: base and livepatched, each in its session's folder. */
async function evidence(files: Record<string, string>): Promise<Result[]> {
  const folder = await scratch()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), {recursive: true})
    await writeFile(join(folder, path), text)
  }
  return FIXED.map((result) => ({...result, evidence: folder}))
}

const report = async (results: Result[], record: PairRecord = RECORD, facts = FACTS) => await comparisonMarkdown({results, pairs: [record], leftOut: []}, facts)

describe('a report', () => {
  it('says how it came about, and counts the verdicts', async () => {
    const text = await report(FIXED)
    expect(text).toMatch(/^# patchbench: 3 of 3 verdicts as expected\n/)
    expect(text).toContain('2026-11-20T06:00:00.000Z, patchbench 0.1.0 (abc1234, changed)')
    expect(text).toContain("\n    patchbench compare one --set 'a=b c'\n")
    expect(text).toContain('## one on debian 6.12.90')
    expect(text).toContain('- kernel release `6.12.90+deb12-amd64`, QEMU under tcg (asked for)')
    expect(text).toContain('- linux-image-6.12.90+deb12-amd64-unsigned 6.12.90-1~bpo12+1 sha256:00ff')
    expect(text).toContain('- livepatch input: `insmod livepatch_one.ko enable=1`, SHA-256 `c0ffee`')
    expect(text).toContain("- the reproducer's parameters: `queries=4`")
    expect(text).toContain('- QEMU emulator version 7.2')
    expect(text).toContain('\none copy too many\n')
    expect(text).not.toMatch(/\[object Object\]|undefined/)
  })

  it('has a row a variant and a row a test, as tables', async () => {
    const text = await report(FIXED)
    expect(text).toContain('| base |  | **shown** | shown | TTL 5,4,3 | 2/2 |')
    expect(text).toContain('| livepatched | input | **fixed** | fixed | TTL 4 | 2/2 |')
    expect(text).toContain('| reverted | input | **restored** | restored | TTL 5,4,3 | 2/2 |')
    expect(text).toContain('| test | role | base | livepatched input | reverted input | seen on base |\n|---|---|---|---|---|---|\n')
    expect(text).toContain('| one-copy | symptom | failed | passed | failed | TTL 5,4,3 on the wire |')
    expect(text).toContain('| delivered | control | passed | passed | passed |  |')
    for (const line of text.split('\n').filter((one) => one.startsWith('| '))) expect(line).toMatch(/ \|$/)
  })

  it('does without a revision and a module', async () => {
    const text = await report(FIXED.slice(0, 1), {...RECORD, modules: {}}, {...FACTS, revision: ''})
    expect(text).toContain('patchbench 0.1.0\n')
    expect(text).toContain('SHA-256 `not built`')
  })

  it('counts and explains what missed its expectation', async () => {
    const missed: Result = {...FIXED[1]!, verdict: 'not-fixed', reasons: ["the symptom 'a|b' still shows", 'a second\nreason']}
    const text = await report([FIXED[0]!, missed])
    expect(text).toContain('# patchbench: 1 of 2 verdicts as expected')
    expect(text).toContain("- livepatched, input: the symptom 'a\\|b' still shows")
    expect(text).toContain('- livepatched, input: a second reason')
  })

  it('says of a symptom that it is not claimed', async () => {
    const results = FIXED.map((result) => ({...result, tests: result.tests.map((test) => (test.role === 'symptom' ? {...test, claimed: false} : test))}))
    expect(await report(results)).toContain('| one-copy | symptom, not claimed |')
  })
})

describe('a report on rulesets', () => {
  const ruleset = async (name: string, text: string): Promise<KeptRuleset> => {
    const path = join(await scratch(), `${name}.nft`)
    await writeFile(path, text)
    return {name, files: {nft: path}, sha256: {nft: `sum of ${name}`}, notes: []}
  }

  it('names them, and says what each candidate changes', async () => {
    const [base, saved] = [await ruleset('base', 'table inet a {\n}\n'), await ruleset('saved', 'table inet b {\n}\n')]
    const cell: Result = {...FIXED[1]!, variant: 'ruleset', candidate: 'saved'}
    const text = await report([FIXED[0]!, cell], {...RECORD, livepatches: [], rulesets: [base, saved]})
    expect(text).toMatch(/- ruleset base: \[.*base\.nft\]\(<.*base\.nft>\), SHA-256 `sum of base`\n/)
    expect(text).toMatch(/- ruleset saved: .*saved\.nft.*`sum of saved`\n/)
    const difference = text.slice(text.indexOf('### Ruleset saved'))
    expect(difference).toContain('--- base.nft\n+++ saved.nft\n')
    expect(difference).toContain('-table inet a {\n+table inet b {\n')
    expect(text.match(/### Ruleset/g)).toHaveLength(1)
  })

  it('has no difference where base was not made', async () => {
    expect(await report(FIXED, {...RECORD, rulesets: [await ruleset('saved', '')]})).not.toContain('### Ruleset')
  })

  it('has the packets of the first candidate, and not those of one whose name starts alike', async () => {
    const results = await evidence({
      'base-1/base/symptom.txt': frame('06:00:00.000001', '02:00:00:00:00:01', 5),
      'save-all-ruleset-1/ruleset/symptom.txt': frame('06:00:00.000001', '02:00:00:00:00:01', 3),
      'save-ruleset-1/ruleset/symptom.txt': frame('06:00:00.000001', '02:00:00:00:00:01', 4),
    })
    const text = await report([results[0]!, {...results[1]!, variant: 'ruleset', candidate: 'save'}])
    expect(text).toMatch(/\nWith ruleset, save:\n\n```\n.*ttl 4/)
    expect(text).not.toContain('ttl 3')
  })
})

describe('the evidence in a report', () => {
  it('is the KTAP of each variant, from its first repeat', async () => {
    const results = await evidence({
      'base-1/base/ktap': 'KTAP version 1\nnot ok 1 one-copy\n',
      'base-2/base/ktap': 'a later repeat\n',
      'base-10/base/ktap': 'a later repeat\n',
      'input-livepatched+reverted-1/livepatched/ktap': 'KTAP version 1\nok 1 one-copy\n',
    })
    const text = await report(results)
    expect(text).toContain('### KTAP, base\n\n```\nKTAP version 1\nnot ok 1 one-copy\n```')
    expect(text).toContain('### KTAP, livepatched, input\n\n```\nKTAP version 1\nok 1 one-copy\n```')
    expect(text).not.toContain('### KTAP, reverted')
    expect(text).not.toContain('a later repeat')
  })

  it('is that of each fix where there are several', async () => {
    const results = await evidence({
      'proposed-livepatched+reverted-1/livepatched/ktap': 'of the proposed\n',
      'revised-livepatched+reverted-1/livepatched/ktap': 'of the revised\n',
    })
    const fixed = results[1]!
    const text = await report([results[0]!, {...fixed, candidate: 'proposed'}, {...fixed, candidate: 'revised'}])
    expect(text.match(/of the (proposed|revised)/g)).toEqual(['of the proposed', 'of the revised'])
  })

  it('is what changed on the wire, addresses and times apart', async () => {
    const results = await evidence({
      'base-1/base/symptom.txt': frame('06:00:00.000001', '02:00:00:00:00:01', 5) + frame('06:00:00.000002', '02:00:00:00:00:01', 4),
      'input-livepatched+reverted-1/livepatched/symptom.txt': frame('07:11:11.111111', '02:00:00:00:00:99', 5),
    })
    const text = await report(results)
    const difference = text.slice(text.indexOf('```diff'))
    expect(text).toContain('### On the wire: symptom')
    expect(text).toContain('06:00:00.000001 02:00:00:00:00:01 >')
    expect(difference).toMatch(/^-<mac> > <mac>, IPv4, \(ttl 4\)/m)
    expect(difference).toMatch(/^ <mac> > <mac>, IPv4, \(ttl 5\)/m)
    expect(difference.split('\n').filter((line) => line.startsWith('+') && !line.startsWith('+++'))).toEqual([])
  })

  it('cannot end the block that it is quoted in', async () => {
    const text = await report(await evidence({'base-1/base/ktap': 'ok\n```\n# patchbench: all is well\n'}))
    expect(text.match(/^```/gm)).toHaveLength(2)
  })

  it('is left out where there is none', async () => {
    const text = await report(FIXED)
    expect(text).not.toMatch(/### KTAP|on the wire\n\n/)
    expect(text).not.toContain('```')
  })
})
