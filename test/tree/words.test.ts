import {describe, expect, it} from 'vitest'
import {gitWords, obstacles} from '../../src/tree/words.js'
import {type FileReport} from '../../src/tree/explain.js'

const NO_ORIGIN = 'no three-way merge: the version of the file that the patch was made from is not in this repository'

describe('what git am says', () => {
  it.each<[string, string[], string[]]>([
    ['of an unknown version', ['error: patch failed: a.c:6', 'error: a.c: patch does not apply', 'error: sha1 information is lacking or useless (a.c).', 'error: could not build fake ancestor'], [NO_ORIGIN]],
    ['of an unknown version alone', ['error: could not build fake ancestor'], [NO_ORIGIN]],
    ['of an edited patch', ['error: patch failed: a.c:6', 'error: Did you hand edit your patch?'], ['no three-way merge: the patch does not fit the version that it says it was made from, so it was changed after that']],
    ['of a conflict', ['CONFLICT (content): Merge conflict in net/a b.c', 'error: Failed to merge in the changes.'], ['the three-way merge left a conflict in net/a b.c']],
    ['of files', ['error: a.c: does not exist in index', 'error: b.c: already exists in index'], ['a.c is not in the tree', 'b.c is there with another content']],
    ['otherwise', ['fatal: something new'], ['something new']],
  ])('%s is told by what it means', (_, words, expected) => {
    expect(gitWords(words)).toEqual(expected)
  })
})

it('what is in the way of a file is the file, and what fits nowhere', () => {
  const hunk = {line: 3, offset: null, nearest: 5, difference: '-a\n+a\r', differs: null}
  const file = (more: Partial<FileReport>): FileReport => ({path: 'a.c', state: 'conflict', renamedTo: null, hunks: [], ...more})
  expect(obstacles(file({state: 'missing'}))).toEqual(['a.c is not in the tree, and no rename of it was found'])
  expect(obstacles(file({state: 'renamed', renamedTo: 'b.c', hunks: [{...hunk, state: 'conflict'}]}))).toEqual(['a.c is b.c now', 'a.c: hunk at line 3 fits nowhere; the nearest place is line 5'])
  expect(obstacles(file({hunks: [{...hunk, state: 'exact'}, {...hunk, state: 'conflict', differs: 'line-ends'}]}))).toEqual(['a.c: hunk at line 3 would fit at line 5 but for line ends: the patch has LF, the file has CR LF'])
  expect(obstacles(file({state: 'exact', hunks: [{...hunk, state: 'exact'}]}))).toEqual([])
})
