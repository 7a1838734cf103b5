import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {entriesOf, openTree, readBlob, resolveCommit} from '../../src/tree/tree.js'
import {renamedTo} from '../../src/tree/renames.js'
import {numbered, repository} from '../support/repository.js'
import {scratch} from '../support/scratch.js'
import {complaint} from '../support/complaint.js'

const signal = new AbortController().signal

describe('a tree', () => {
  it('is found from a folder of it', async () => {
    const repo = await repository({'a/b/c': 'x\n'})
    expect(await openTree(signal, join(repo.folder, 'a/b'))).toEqual({directory: repo.folder, bare: false, common: join(repo.folder, '.git')})
  })

  it('may be bare', async () => {
    const repo = await repository({x: 'x\n'})
    const bare = join(await scratch(), 'bare.git')
    await repo.git('clone', '-q', '--bare', repo.folder, bare)
    expect(await openTree(signal, bare)).toEqual({directory: bare, bare: true, common: bare})
  })

  it('that is none is refused', async () => {
    const folder = await scratch()
    expect(await complaint(openTree(signal, folder))).toMatch(/^--git .* is not a git tree that can be used \(not a git repository.*\): name the folder of one$/)
    expect(await complaint(openTree(signal, join(folder, 'none')))).toMatch(/is not a folder: name the folder of a git tree$/)
    const repo = await repository({x: 'x\n'})
    expect(await complaint(openTree(signal, join(repo.folder, '.git')))).toMatch(/is inside a \.git folder/)
  })

  it("that is another user's names the remedy", async () => {
    const repo = await repository({x: 'x\n'})
    process.env.GIT_TEST_ASSUME_DIFFERENT_OWNER = '1'
    try {
      expect(await complaint(openTree(signal, repo.folder))).toContain(`belongs to another user, and git takes no tree of another's: 'git config --global --add safe.directory ${repo.folder}'`)
    } finally {
      delete process.env.GIT_TEST_ASSUME_DIFFERENT_OWNER
    }
  })

  it('is that of --git, whatever GIT_DIR says', async () => {
    const [repo, other] = [await repository({x: 'x\n'}), await repository({y: 'y\n'})]
    process.env.GIT_DIR = join(other.folder, '.git')
    try {
      expect((await openTree(signal, repo.folder)).common).toBe(join(repo.folder, '.git'))
    } finally {
      delete process.env.GIT_DIR
    }
  })

  it('knows its commits', async () => {
    const repo = await repository({x: 'x\n'})
    const head = await repo.git('rev-parse', 'HEAD')
    const tree = await openTree(signal, repo.folder)
    expect(await resolveCommit(signal, tree, 'main')).toBe(head)
    expect(await complaint(resolveCommit(signal, tree, 'v9'))).toMatch(/^--base v9 is no commit in /)
    expect(await complaint(resolveCommit(signal, tree, '--all'))).toMatch(/^--base --all is no commit in /)
  })

  it('gives modes and texts to the last byte, of odd names too', async () => {
    const repo = await repository({'a b\n"ü"': 'one\n\n', 'sub/*': 'no end'})
    const entries = await entriesOf(signal, repo.folder, 'HEAD', ['a b\n"ü"', 'sub/*', 'none', 'sub'])
    expect([...entries.keys()].filter((path) => path !== 'sub').sort()).toEqual(['a b\n"ü"', 'sub/*'])
    expect(entries.get('sub/*')!.mode).toBe('100644')
    expect(await readBlob(signal, repo.folder, entries.get('a b\n"ü"')!.oid)).toBe('one\n\n')
    expect(await readBlob(signal, repo.folder, entries.get('sub/*')!.oid)).toBe('no end')
  })

  it('shows a link and what is behind it asked for together', async () => {
    const repo = await repository({x: 'x\n'})
    await repo.git('update-index', '--add', '--cacheinfo', `120000,${await repo.git('hash-object', '-w', 'x')},doc/link`)
    await repo.git('commit', '-q', '-m', 'link')
    const entries = await entriesOf(signal, repo.folder, 'HEAD', ['doc', 'doc/link', 'doc/link/x'])
    expect(entries.get('doc/link')?.mode).toBe('120000')
  })
})

describe('a rename', () => {
  it('is found, of a rename too', async () => {
    const repo = await repository({'one.c': numbered(30)})
    await repo.commit({'one.c': null, 'two.c': numbered(30, {3: 'x'})})
    await repo.commit({'two.c': null, 'sub/three.c': numbered(30, {3: 'x'})})
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'one.c', {left: 9999})).toBe('sub/three.c')
    expect(await renamedTo(signal, repo.folder, 'HEAD~1', 'one.c', {left: 9999})).toBe('two.c')
  })

  it('is not looked for when the time for it is over, which all share', async () => {
    const repo = await repository({'one.c': numbered(30)})
    await repo.commit({'one.c': null, 'two.c': numbered(30)})
    const patience = {left: 9999}
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'one.c', patience)).toBe('two.c')
    expect(patience.left).toBeLessThan(9999)
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'one.c', {left: 0})).toBeUndefined()
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'one.c', {left: 1})).toBeUndefined()
  })

  it('is none where the file was deleted or never there', async () => {
    const repo = await repository({'one.c': numbered(30), 'two.c': 'x\n'})
    await repo.commit({'one.c': null})
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'one.c', {left: 9999})).toBeUndefined()
    expect(await renamedTo(signal, repo.folder, 'HEAD', 'never.c', {left: 9999})).toBeUndefined()
  })
})
