import {describe, expect, it} from 'vitest'
import {parseKtap} from '../../src/verdict/ktap.js'

const ktap = (...lines: string[]) => parseKtap(['KTAP version 1', ...lines, ''].join('\n'))

describe('a whole run', () => {
  it('has each test with what was seen before it', () => {
    expect(ktap('1..3', '# TTL 5,4,3', '# of three', 'not ok 1 one-copy', 'ok 2 delivered', '# TTL 4', 'ok 3 unjoined')).toEqual({
      tests: [
        {name: 'one-copy', status: 'failed', observed: 'TTL 5,4,3\nof three'},
        {name: 'delivered', status: 'passed', observed: ''},
        {name: 'unjoined', status: 'passed', observed: 'TTL 4'},
      ],
    })
  })

  it('keeps a skip apart from a pass, with its reason', () => {
    const {tests, broken} = ktap('1..2', 'ok 1 one # SKIP no module vrf', 'ok 2 two # SKIP')
    expect(broken).toBeUndefined()
    expect(tests).toEqual([
      {name: 'one', status: 'skipped', observed: 'no module vrf'},
      {name: 'two', status: 'skipped', observed: ''},
    ])
  })

  it('counts a nested test as the one line that closes it', () => {
    const {tests, broken} = ktap('1..1', '    KTAP version 1', '    1..2', '    ok 1 a', '    not ok 2 b', 'not ok 1 suite')
    expect(broken).toBeUndefined()
    expect(tests).toEqual([{name: 'suite', status: 'failed', observed: ''}])
  })

  it('reads KUnit\'s indent of two as well', () => {
    const {tests} = ktap('1..1', '  KTAP version 1', '  1..1', '  not ok 1 a', 'ok 1 suite')
    expect(tests).toEqual([{name: 'suite', status: 'passed', observed: ''}])
  })

  it('reads the line ends of a serial console, and names after a hyphen', () => {
    expect(parseKtap('KTAP version 1\r\n1..1\r\n# seen\r\nnot ok 1 - one\r\n')).toEqual({
      tests: [{name: 'one', status: 'failed', observed: 'seen'}],
    })
  })

  it('does not make a known failure pass', () => {
    expect(ktap('1..1', 'not ok 1 one # TODO later').tests[0]?.status).toBe('failed')
  })

  it('ignores what is no KTAP', () => {
    expect(ktap('1..1', 'hello', 'a line with ok 1 in it', 'ok 1 one')).toEqual({tests: [{name: 'one', status: 'passed', observed: ''}]})
  })

  it('reports a test that is named twice twice', () => {
    expect(ktap('1..2', 'ok 1 one', 'not ok 2 one').tests.map(({status}) => status)).toEqual(['passed', 'failed'])
  })
})

describe('a broken run', () => {
  it.each([
    ['nothing', '', 'no test result'],
    ['no test', 'KTAP version 1\n1..0 # SKIP nothing to do\n', 'no test result'],
    ['no plan', 'KTAP version 1\nok 1 one\n', 'no plan'],
    ['a test too few', 'KTAP version 1\n1..2\nok 1 one\n', 'planned 2 tests and printed 1'],
    ['a test too many', 'KTAP version 1\n1..1\nok 1 one\nok 2 two\n', 'planned 1 tests and printed 2'],
    ['a line cut short', 'KTAP version 1\n1..2\nok 1 one\nnot o', 'planned 2 tests and printed 1'],
    ['a bail-out', 'KTAP version 1\n1..2\nok 1 one\nBail out! no memory\n', 'bailed out: no memory'],
    ['a bail-out without a word', 'KTAP version 1\n1..2\nok 1 one\nBail out!\n', 'bailed out'],
  ])('says that it printed %s', (_, text, why) => {
    expect(parseKtap(text).broken).toContain(why)
  })

  it('keeps the tests that it did report', () => {
    expect(ktap('1..2', 'not ok 1 one').tests).toEqual([{name: 'one', status: 'failed', observed: ''}])
  })
})
