import {mkdir, readdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type BuiltKernel} from '../../src/kernel/built.js'
import {buildPerCommit, type CommitBuild, firstComplaint} from '../../src/kernel/percommit.js'
import {type Files, repository} from '../support/repository.js'
import {DELEGATE} from '../support/series.js'
import {contextIn, scratch} from '../support/scratch.js'

const GOOD: CommitBuild = {commit: 'c0ffee', subject: 'net: do it', error: null, warnings: [], sparse: null}

describe('the first complaint about a series', () => {
  it.each<[string, CommitBuild[], string | undefined]>([
    ['is none where all commits are good', [GOOD, GOOD], undefined],
    ['is none where there is no commit', [], undefined],
    ['is a warning, the first of its commit', [GOOD, {...GOOD, subject: 'net: warn', warnings: ['a.c:1:1: warning: one', 'two']}], "'net: warn' adds a warning: a.c:1:1: warning: one"],
    ['is what does not build', [{...GOOD, error: 'a.c:1:1: error: no'}], "'net: do it' does not build: a.c:1:1: error: no"],
    ['is of the first bad commit', [GOOD, {...GOOD, subject: 'net: warn', warnings: ['w']}, {...GOOD, error: 'e'}], "'net: warn' adds a warning: w"],
    ['is the error of a commit that has warnings too', [{...GOOD, error: 'e', warnings: ['w']}], "'net: do it' does not build: e"],
  ])('%s', (_, builds, expected) => {
    expect(firstComplaint(builds)).toBe(expected)
  })
})

// A compiler that says what stands in its file: `//! text` always, `//1 text` with W=1; `//E text` is an error. With C=2 only
// sparse looks, and says `//S text`.
const MAKEFILE = `%.o: ../%.c FORCE
	@sed -n 's|^//[$(if $(C),S,!E$(W))] |$<:1:1: |p' $<
	@! grep -q '//E' $<
	@touch $@
bzImage: $(patsubst ../%.c,%.o,$(wildcard ../one.c ../two.c))
modules:
FORCE:
`

/** A base with two files, built, and a series of changes on it. */
async function series(...changes: Files[]) {
  return (await built(false, ...changes)).map(({subject, error, warnings}) => [subject, error ?? 'builds', ...warnings])
}

async function built(sparse: boolean, ...changes: Files[]): Promise<CommitBuild[]> {
  const repo = await repository({'one.c': '//1 warning: old\n', 'two.c': 'two\n', 'not-built.c': 'x\n'})
  const commit = await repo.git('rev-parse', 'HEAD')
  const folder = join(await scratch(), 'source')
  await mkdir(join(folder, 'build'), {recursive: true})
  await writeFile(join(folder, 'Makefile'), DELEGATE)
  await writeFile(join(folder, 'build/Makefile'), MAKEFILE)
  for (const name of ['one', 'two']) {
    await writeFile(join(folder, `${name}.c`), await repo.git('show', `HEAD:${name}.c`))
    await writeFile(join(folder, `build/.${name}.o.cmd`), '')
  }
  for (const [index, files] of changes.entries()) await repo.commit(files, `change ${index + 1}`)
  const base = {source: {directory: repo.folder, commit, label: 'linux 6.12.7'}, options: {}, folder: async () => folder} as unknown as BuiltKernel
  const context = contextIn(await scratch())
  const builds = await buildPerCommit(context, base, await repo.git('rev-parse', 'HEAD'), sparse)
  expect(await readdir(join(context.cache, 'scratch'))).toEqual([])
  return builds
}

describe('commit by commit, a series', () => {
  it('that is good has nothing to say of what was there', async () => {
    expect(await series({'one.c': '// new\n//1 warning: old\n'}, {'two.c': 'changed\n'})).toEqual([
      ['change 1', 'builds'],
      ['change 2', 'builds'],
    ])
  })

  it('has a warning told once, of the commit that adds it', async () => {
    const one = '//1 warning: old\n//! warning: new\n'
    expect(await series({'two.c': 'changed\n'}, {'one.c': one}, {'one.c': `${one}// more\n`})).toEqual([
      ['change 1', 'builds'],
      ['change 2', 'builds', 'one.c:1:1: warning: new'],
      ['change 3', 'builds'],
    ])
  })

  it('is compiled with W=1', async () => {
    expect(await series({'one.c': '//1 warning: old\n//1 warning: new\n'})).toEqual([['change 1', 'builds', 'one.c:1:1: warning: new']])
  })

  it('is built as far as it builds', async () => {
    expect(await series({'two.c': 'changed\n'}, {'one.c': '//E error: no\n'}, {'one.c': 'good\n'})).toEqual([
      ['change 1', 'builds'],
      ['change 2', 'one.c:1:1: error: no'],
    ])
  })

  it('may change what is not built, and remove what is', async () => {
    expect(await series({'not-built.c': '//! warning: unseen\n'}, {'two.c': null})).toEqual([
      ['change 1', 'builds'],
      ['change 2', 'builds'],
    ])
  })

  it('is looked at by sparse where that is asked for, which says what is new', async () => {
    const old = '//1 warning: old\n//S warning: known to sparse\n'
    const builds = await built(true, {'one.c': old}, {'one.c': `// moved\n${old}//S error: seen by sparse\n//1 warning: seen by gcc\n`}, {'two.c': '//E error: no\n'})
    expect(builds.map(({warnings, sparse}) => ({warnings, sparse}))).toEqual([
      {warnings: [], sparse: ['one.c:1:1: warning: known to sparse']},
      {warnings: ['one.c:1:1: warning: seen by gcc'], sparse: ['one.c:1:1: error: seen by sparse']},
      {warnings: [], sparse: null},
    ])
    expect((await built(false, {'one.c': old}))[0]!.sparse).toBeNull()
  })
})
