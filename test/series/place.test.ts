import {structuredPatch} from 'diff'
import {describe, expect, it} from 'vitest'
import {linesOf, placeHunks} from '../../src/series/place.js'
import {numbered} from '../support/repository.js'

function hunksOf(before: string, after: string) {
  return structuredPatch('a', 'b', before, after, '', '', {context: 3}).hunks
}

/** Places the hunks that lead from one text to another in a third. */
function place(before: string, after: string, file: string) {
  return placeHunks(file, hunksOf(before, after))
}

const BEFORE = numbered(40)
const AFTER = numbered(40, {20: 'changed'})

describe('a hunk', () => {
  it('fits exactly', () => {
    const {reports, text} = place(BEFORE, AFTER, BEFORE)
    expect(reports).toEqual([{line: 17, state: 'exact', offset: 0, nearest: null, difference: null, differs: null}])
    expect(text).toBe(AFTER)
  })

  it.each<[string, number, string]>([
    ['further down', 2, `one more\none more\n${BEFORE}`],
    ['further up', -3, linesOf(BEFORE).slice(3).join('')],
  ])('fits %s', (_, offset, file) => {
    const {reports, text} = place(BEFORE, AFTER, file)
    expect(reports).toEqual([{line: 17, state: 'offset', offset, nearest: null, difference: null, differs: null}])
    expect(text).toBe(file.replace('line 20\n', 'changed\n'))
  })

  it('fits the nearest of several places', () => {
    const block = numbered(7)
    const file = `${block.repeat(3)}`
    const hunks = hunksOf(`${block}${block}${block}`, `${block}${block.replace('line 4', 'changed')}${block}`)
    expect(placeHunks(`x\n${file}`, hunks).reports).toMatchObject([{state: 'offset', offset: 1}])
  })

  it('is applied already', () => {
    const {reports, text} = place(BEFORE, AFTER, `moved\n${AFTER}`)
    expect(reports).toEqual([{line: 17, state: 'already-applied', offset: null, nearest: null, difference: null, differs: null}])
    expect(text).toBe(`moved\n${AFTER}`)
  })

  it('fits nowhere: the nearest place, and what differs there', () => {
    const file = `first\n${numbered(40, {20: 'something else', 22: 'and here'})}`
    const {reports, text} = place(BEFORE, AFTER, file)
    expect(reports).toEqual([
      {
        ...{line: 17, state: 'conflict', offset: null, nearest: 18},
        difference: ' line 17\n line 18\n line 19\n-line 20\n+something else\n line 21\n-line 22\n+and here\n line 23',
        differs: null,
      },
    ])
    expect(text).toBe(file)
  })

  it('fits nowhere because of lines in its midst', () => {
    const {reports} = place(BEFORE, AFTER, BEFORE.replace('line 20\n', 'inserted\nline 20\n'))
    expect(reports).toMatchObject([{state: 'conflict', nearest: 17, difference: ' line 17\n line 18\n line 19\n+inserted\n line 20\n line 21\n line 22\n line 23'}])
  })

  it('fits nowhere, and nothing is like it', () => {
    expect(place(BEFORE, AFTER, 'another\nfile\n').reports).toMatchObject([{state: 'conflict', nearest: null, difference: null, differs: null}])
  })

  it.each<[string, string, string, 'line-ends' | 'whitespace', string]>([
    ['line ends', AFTER, `one more\n${BEFORE}`.replaceAll('\n', '\r\n'), 'line-ends', '-line 19\n+line 19\r\n-line 20\n+line 20\r\n'],
    ['whitespace', AFTER, `one more\n${BEFORE}`.replaceAll('line ', '\tline  '), 'whitespace', '-line 19\n+\tline  19\n-line 20\n+\tline  20\n'],
    ['whitespace in a line', AFTER, `one more\n${BEFORE}`.replace('line 22', 'line 22 '), 'whitespace', ' line 21\n-line 22\n+line 22 \n line 23'],
  ])('fits but for %s', (_, after, file, differs, difference) => {
    const {reports, text} = place(BEFORE, after, file)
    expect(reports).toMatchObject([{state: 'conflict', offset: null, nearest: 18, differs}])
    expect(reports[0]!.difference).toContain(difference)
    expect(text).toBe(file)
  })

  it.each([
    ['a word', 20, BEFORE.replaceAll('line ', '\tline ').replace('line 22', 'line 2 2 x')],
    ['a last line without an end', 40, BEFORE.trimEnd()],
  ])('does not fit but for whitespace where %s differs', (_, changed, file) => {
    expect(place(BEFORE, numbered(40, {[changed]: 'changed'}), file).reports).toMatchObject([{state: 'conflict', differs: null}])
  })

  it('begins at its own blank line, not at the one before', () => {
    const file = '#include <x.h>\n\nint f(void)\n{\n\tint a;\n\n\tg();\n\th();\n\treturn 1;\n}\n\nint b;\n'
    const {reports} = place(file, file.replace('h()', 'h(1)'), file.replace('h()', 'i()'))
    expect(reports).toMatchObject([{state: 'conflict', nearest: 5, difference: ' \tint a;\n \n \tg();\n-\th();\n+\ti();\n \treturn 1;\n }\n '}])
    const blank = '#include <x.h>\n\nint f(void)\n{\n\n\tg();\n\tx();\n\th();\n\treturn 1;\n\n}\nint c;\n\nint b;\n'
    const edges = place(blank, blank.replace('h()', 'h(1)'), blank.replace('g()', 'i()')).reports
    expect(edges).toMatchObject([{state: 'conflict', nearest: 5, difference: ' \n-\tg();\n+\ti();\n \tx();\n \th();\n \treturn 1;\n \n }'}])
  })

  it('says the nearest line in the file as it was, without the lines of earlier hunks', () => {
    const after = numbered(40, {3: 'line 3\nadded\nadded', 30: 'changed'})
    const {reports} = place(BEFORE, after, numbered(40, {30: 'something else'}))
    expect(reports).toMatchObject([{state: 'exact'}, {state: 'conflict', line: 27, nearest: 27}])
  })

  it('behind one that does not fit is not off by the lines that are missing', () => {
    const after = numbered(40, {3: 'line 3\nadded\nadded', 30: 'changed'})
    const {reports} = place(BEFORE, after, numbered(40, {2: 'something else'}))
    expect(reports).toMatchObject([{state: 'conflict'}, {state: 'exact', offset: 0}])
  })

  it('at the first line belongs there, as for git', () => {
    const after = numbered(40, {1: 'changed'})
    expect(place(BEFORE, after, `new first\n${BEFORE}`).reports).toMatchObject([{state: 'conflict', nearest: 2}])
  })

  it('at the last line belongs there, as for git', () => {
    const after = numbered(40, {40: 'changed'})
    expect(place(BEFORE, after, `${BEFORE}new last\n`).reports).toMatchObject([{state: 'conflict', nearest: 37}])
  })

  it('does not take what an earlier hunk wrote for its context, as git does not', () => {
    const [first] = hunksOf(BEFORE, numbered(40, {5: 'written'}))
    const second = {oldStart: 9, oldLines: 3, newStart: 9, newLines: 3, lines: [' line 4', '-written', '+again', ' line 6']}
    expect(placeHunks(BEFORE, [first!, second]).reports).toMatchObject([{state: 'exact'}, {state: 'conflict', nearest: 4}])
  })

  it('sees whether the last line is ended', () => {
    const unended = BEFORE.trimEnd()
    const {reports} = place(BEFORE, numbered(40, {40: 'changed'}), unended)
    expect(reports).toMatchObject([{state: 'conflict', difference: ' line 37\n line 38\n line 39\n-line 40\n+line 40 (no newline at the end)'}])
    expect(place(unended, `${unended} changed`, unended).text).toBe(`${unended} changed`)
  })

  it('shows no more of a long difference than can be read', () => {
    const long = (word: string) => Array.from({length: 60}, (_, index) => `${word} ${index}\n`).join('')
    const {reports} = place(`same line\n${long('old')}end line\n`, `same line\nend line\n`, `same line\n${long('new')}end line\n`)
    expect(reports[0]!.difference!.split('\n')).toHaveLength(41)
    expect(reports[0]!.difference).toMatch(/\.\.\. and \d+ lines more$/)
  })
})
