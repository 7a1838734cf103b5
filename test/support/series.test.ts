import {execa} from 'execa'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {fileWith, type Files, numbered, type Repository, repository} from './repository.js'
import {newFile, withLine, withoutHunk} from './series.js'

const BEFORE = {'a.c': numbered(40), 'b.c': numbered(20), 'one.c': 'only\n'}
const CHANGES = {
  'a.c': numbered(40, {5: 'first change', 20: 'second change', 35: 'third change'}),
  'b.c': numbered(20, {10: 'change of b\nand one more'}),
  'one.c': 'changed\n',
}

/** A repository, and a mail that changes three files of it. */
async function patch(): Promise<{repo: Repository; text: string}> {
  const repo = await repository(BEFORE)
  const folder = await repo.series([CHANGES], {titles: ['a change']})
  return {repo, text: await readFile(join(folder, '0001-a-change.patch'), 'utf8')}
}

/** The files after `git apply`. */
async function applied({folder}: Repository, text: string): Promise<Files> {
  await execa('git', ['-C', folder, 'apply', await fileWith(text)])
  return Object.fromEntries(await Promise.all(Object.keys(BEFORE).map(async (path) => [path, await readFile(join(folder, path), 'utf8')])))
}

describe('a patch without a hunk', () => {
  it.each<[what: string, text: string, left: Files]>([
    ['the first', '+first change', {'a.c': numbered(40, {20: 'second change', 35: 'third change'})}],
    ['one between', '+second change', {'a.c': numbered(40, {5: 'first change', 35: 'third change'})}],
    ['the last of a file', '+third change', {'a.c': numbered(40, {5: 'first change', 20: 'second change'})}],
    ['the only one of a file', '+change of b', {'b.c': BEFORE['b.c']}],
    ['the last of all', '+changed', {'one.c': BEFORE['one.c']}],
  ])('%s applies, and has the rest', async (_, text, left) => {
    const {repo, text: whole} = await patch()
    expect(await applied(repo, withoutHunk(whole, text))).toEqual({...CHANGES, ...left})
  })

  it('that it has not is the patch', async () => {
    const {text} = await patch()
    expect(withoutHunk(text, 'no such line')).toBe(text)
  })
})

describe('a patch with one more line', () => {
  it.each<[after: string, line: string, grown: Files]>([
    ['+second change', 'added', {'a.c': CHANGES['a.c'].replace('second change\n', 'second change\nadded\n')}],
    ['+and one more', '\tint unused;', {'b.c': CHANGES['b.c'].replace('and one more\n', 'and one more\n\tint unused;\n')}],
    ['+changed', 'added', {'one.c': 'changed\nadded\n'}],
    ['+changed', "$& $' $1", {'one.c': "changed\n$& $' $1\n"}],
  ])('after %j applies, and has it: %j', async (after, line, grown) => {
    const {repo, text} = await patch()
    expect(await applied(repo, withLine(text, after, line))).toEqual({...CHANGES, ...grown})
  })
})

it('a mail with a new file is one for git am', async () => {
  const {repo} = await patch()
  await execa('git', ['-C', repo.folder, '-c', 'user.name=A', '-c', 'user.email=a@b', 'am', '-q', await fileWith(newFile('Documentation/new.rst', 'docs: say it', 'one\ntwo\n'))])
  expect(await readFile(join(repo.folder, 'Documentation/new.rst'), 'utf8')).toBe('one\ntwo\n')
  expect(await repo.git('log', '-1', '--format=%s')).toBe('docs: say it')
})
