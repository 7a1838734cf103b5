import {describe, expect, it} from 'vitest'
import {inOrder} from '../../src/series/order.js'

const of = (...numbers: string[]) => inOrder(numbers.map((number) => ({subject: `[PATCH net v2 ${number}] a change`})))
const subjects = (...prefixes: string[]) => inOrder(prefixes.map((prefix) => ({subject: `${prefix} a change`})))
const numbersOf = ({patches}: ReturnType<typeof of>) => patches.map(({subject}) => /(\d+)\//.exec(subject)?.[1]).join(' ')

describe('the patches of a series', () => {
  it('are put in the order of their numbers, with a word', () => {
    const turned = of('3/3', '1/3', '2/3')
    expect(numbersOf(turned)).toBe('1 2 3')
    expect(turned.notes).toEqual(['the patches came as 3/3, 1/3, 2/3: they were put in the order of their numbers'])
    expect(numbersOf(of('10/10', '9/10', '1/10'))).toBe('1 9 10')
    expect(of('01/02', '02/02').notes).toEqual([])
  })

  it.each([
    [['1/6', '3/6', '4/6', '6/6'], '2/6 and 5/6 are missing from the series'],
    [['2/6'], '1/6 and 3/6 to 6/6 are missing from the series'],
    [['1/2'], '2/2 is missing from the series'],
    [['1/5', '4/5'], '2/5, 3/5 and 5/5 are missing from the series'],
    [['1/5', '5/5'], '2/5 to 4/5 are missing from the series'],
  ])('%j: %s', (numbers, note) => {
    expect(of(...numbers).notes).toEqual([note])
  })

  it.each([
    ['of two totals', ['[PATCH 2/2]', '[PATCH 1/3]']],
    ['with a number twice', ['[PATCH 2/2]', '[PATCH 1/2]', '[PATCH v2 1/2]']],
    ['with one without a number', ['[PATCH 2/2]', '[PATCH]']],
    ['with a number beyond the total', ['[PATCH 7/6]', '[PATCH 1/6]']],
    ['with a fraction that is no number of a mail', ['[PATCH] [2/3] is', '[PATCH] use 1/3 [1/2]:']],
  ])('%s stay as they came', (_, prefixes) => {
    const {patches, notes} = subjects(...prefixes)
    expect({prefixes: patches.map(({subject}) => subject.replace(' a change', '')), notes}).toEqual({prefixes, notes: []})
  })
})
