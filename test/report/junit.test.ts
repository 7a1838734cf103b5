import {execa} from 'execa'
import {describe, expect, it} from 'vitest'
import {junitXml} from '../../src/report/junit.js'
import {runKtap} from '../../src/report/ktap.js'
import {readRun} from '../../src/run/folder.js'
import {type Result} from '../../src/run/results.js'
import {parseKtap} from '../../src/verdict/ktap.js'
import {FIXED, RECORD, resultWith} from '../support/results.js'
import {runFolderWith} from '../support/run.js'

const read = async (results: Result[]) => await readRun(await runFolderWith({results, pairs: [{...RECORD, sessions: [{variants: ['base'], livepatch: null, candidate: null, traced: false, boot: 0, seconds: {restore: 0.1, total: 1.5}, steps: {}}]}]}))

/** The document as a strict parser sees it: [element, attributes, text], in order. */
async function parsed(xml: string): Promise<[string, Record<string, string>, string][]> {
  const program = 'import sys, json, xml.etree.ElementTree as e\nprint(json.dumps([[x.tag, x.attrib, x.text or ""] for x in e.fromstring(sys.stdin.buffer.read()).iter()]))'
  return JSON.parse((await execa('python3', ['-c', program], {input: xml})).stdout) as [string, Record<string, string>, string][]
}

const MISSED = [FIXED[0]!, resultWith({variant: 'livepatched', candidate: 'input', verdict: 'not-fixed', expected: 'fixed', reasons: ["the symptom 'one-copy' still shows"]}), resultWith({variant: 'reverted', candidate: 'input', verdict: 'could-not-run', expected: 'restored', reasons: ['no boot']})]

describe('JUnit XML', () => {
  it('has a suite a case on a kernel, a test case a cell, and none fails that is as expected', async () => {
    const elements = await parsed(await junitXml(await read(FIXED)))
    expect(elements[0]).toEqual(['testsuites', {name: 'patchbench', tests: '3', failures: '0', errors: '0', time: '1.500'}, expect.anything()])
    expect(elements.find(([tag]) => tag === 'testsuite')![1]).toEqual({name: 'one on debian 6.12.90', tests: '3', failures: '0', errors: '0', skipped: '0', time: '1.500', timestamp: '2026-11-20T06:00:00'})
    expect(elements.filter(([tag]) => tag === 'testcase').map(([, {name, classname}]) => [classname, name])).toEqual([['one.debian-6_12_90', 'base'], ['one.debian-6_12_90', 'livepatched, input'], ['one.debian-6_12_90', 'reverted, input']])
    expect(elements.find(([tag]) => tag === 'system-out')![2]).toContain('failed  one-copy (symptom): TTL 5,4,3')
  })

  it('has a failure for a missed verdict, and an error for what could not run', async () => {
    const elements = await parsed(await junitXml(await read(MISSED)))
    expect(elements[0]![1]).toMatchObject({tests: '3', failures: '1', errors: '1'})
    expect(elements.find(([tag]) => tag === 'failure')).toEqual(['failure', {message: 'not-fixed, expected fixed', type: 'verdict'}, "the symptom 'one-copy' still shows"])
    expect(elements.find(([tag]) => tag === 'error')).toEqual(['error', {message: 'could-not-run, expected restored', type: 'could-not-run'}, 'no boot'])
  })

  it('holds whatever a guest says', async () => {
    const hostile = '<system-out>]]></system-out>&lol;"\'\u0000\u0008\u001f\ud800\ufffe\uffff'
    const elements = await parsed(await junitXml(await read([resultWith({verdict: 'flaky', reasons: [hostile], tests: [{name: hostile, observed: {base: '', variant: hostile}}]})])))
    expect(elements.map(([tag]) => tag)).toEqual(['testsuites', 'testsuite', 'properties', 'property', 'testcase', 'failure', 'system-out'])
    expect(elements.find(([tag]) => tag === 'failure')![2]).toContain('<system-out>]]></system-out>&lol;"\'')
  })
})

describe('KTAP', () => {
  it('has a result a cell with its tests below, and symptoms on base as expected failures', async () => {
    const text = runKtap(await read(FIXED))
    expect(text.split('\n').slice(0, 9)).toEqual(['KTAP version 1', '1..3', '  KTAP version 1', '  # Subtest: one, debian 6.12.90, base', '  1..3', '  # TTL 5,4,3', '  # on the wire', '  ok 1 one-copy # XFAIL', '  ok 2 delivered'])
    expect(parseKtap(text)).toMatchObject({tests: [{name: 'one, debian 6.12.90, base', status: 'passed'}, {status: 'passed'}, {status: 'passed'}]})
    expect(text).not.toContain('not ok')
  })

  it('fails a cell that missed, with its reasons and tests', async () => {
    const text = runKtap(await read(MISSED))
    expect(text).toContain("# verdict not-fixed, expected fixed\n# the symptom 'one-copy' still shows\nnot ok 2 one, debian 6.12.90, livepatched, input\n")
    expect(text).toContain('\n  not ok 1 one-copy\n')
    expect(text).toContain('not ok 3 one, debian 6.12.90, reverted, input # ERROR could not run')
    expect(parseKtap(text).tests.map(({status}) => status)).toEqual(['passed', 'failed', 'failed'])
  })

  it('has no result, plan or directive of a guest', async () => {
    const hostile = 'well\nok 7 more\nBail out!\n1..0 # SKIP all'
    const tests = parseKtap(runKtap(await read([resultWith({reasons: [hostile], tests: [{name: 'a # SKIP b', observed: {base: '', variant: hostile}}]})]))).tests
    expect(tests).toHaveLength(1)
    expect(tests[0]!.status).toBe('passed')
  })
})
