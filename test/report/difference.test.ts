import {describe, expect, it} from 'vitest'
import {compareRuns, differenceJson, differenceText} from '../../src/report/difference.js'
import {readRun} from '../../src/run/folder.js'
import {FIXED, resultWith} from '../support/results.js'
import {runFolderWith} from '../support/run.js'

const [base, live, back] = FIXED as [(typeof FIXED)[0], (typeof FIXED)[0], (typeof FIXED)[0]]
const worse = {...live, verdict: 'not-fixed' as const, tests: base.tests}

describe('two runs', () => {
  it('that agree are the same', () => {
    const cells = compareRuns(FIXED, FIXED)
    expect(cells.map(({same}) => same)).toEqual([true, true, true])
    expect(differenceText(cells)).toBe('3 of 3 cells are the same')
  })

  it('differ by verdict and by test', () => {
    const cells = compareRuns(FIXED, [base, worse, back])
    expect(cells.filter(({same}) => !same)).toMatchObject([{variant: 'livepatched', candidate: 'input', verdict: {before: 'fixed', after: 'not-fixed'}, tests: [{name: 'one-copy', before: 'passed', after: 'failed'}]}])
    const text = differenceText(cells)
    expect(text).toContain('fixed > not-fixed')
    expect(text).toMatch(/ one-copy +passed > failed +TTL 4 > TTL 5,4,3/)
    expect(text).toMatch(/2 of 3 cells are the same$/)
  })

  it('differ by a test where the verdict is the same', () => {
    const other = resultWith({tests: [{name: 'one-copy', base: 'failed', variant: 'failed'}, {name: 'delivered', role: 'control', variant: 'failed'}]})
    const [cell] = compareRuns([base], [other])
    expect(cell!.tests.map(({name, before, after}) => [name, before, after])).toEqual([['delivered', 'passed', 'failed'], ['unjoined', 'passed', null]])
    expect(cell!.same).toBe(false)
  })

  it('have cells that only one of them has', () => {
    const cells = compareRuns([base, live], [base, back])
    expect(cells.map(({variant, verdict}) => [variant, verdict.before, verdict.after])).toEqual([['base', 'shown', 'shown'], ['livepatched', 'fixed', null], ['reverted', null, 'restored']])
    expect(differenceText(cells)).toContain('not there > restored')
  })

  it('are compared on the same line where the kernels differ', () => {
    const newer = {...base, kernel: 'debian 6.12.99'}
    expect(compareRuns([base], [newer])).toMatchObject([{kernel: {before: 'debian 6.12.90', after: 'debian 6.12.99'}, same: true}])
    expect(compareRuns([base, newer], [newer, base]).map(({kernel}) => kernel.before === kernel.after)).toEqual([true, true])
    expect(compareRuns([base], [{...base, kernel: 'built 6.12.90'}]).map(({same}) => same)).toEqual([false, false])
  })

  it('are JSON', async () => {
    const run = await readRun(await runFolderWith())
    expect(JSON.parse(differenceJson({before: run, after: run}, compareRuns(run.results, run.results)))).toMatchObject({schema: 1, same: true, before: {command: 'patchbench compare one'}, cells: [{}, {}, {}]})
  })
})
