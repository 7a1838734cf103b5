import {lstat, mkdir, readdir, readFile, readlink, stat, symlink, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {changedPaths, checkOutOver, copyBuild} from '../../src/kernel/copy.js'
import {checkOut} from '../../src/tree/checkout.js'
import {type Files, type Repository, repository} from '../support/repository.js'
import {scratch} from '../support/scratch.js'

const signal = new AbortController().signal
const ODD = 'odd \'"\\ *[x]\tü\n.c'
const OLD = new Date('2001-02-03T04:05:06Z')

/** A repository, its first commit checked out and "built", and a copy of that. */
async function copied(files: Files = {'net/a.c': 'a\n', 'net/b.c': 'b\n', Makefile: 'all:\n'}) {
  const repo = await repository(files)
  const from = await repo.git('rev-parse', 'HEAD')
  const base = join(await scratch(), 'source')
  await mkdir(base)
  await checkOut(signal, repo.folder, from, base)
  await mkdir(join(base, 'build/net'), {recursive: true})
  await writeFile(join(base, 'build/net/a.o'), 'object\n')
  await symlink('..', join(base, 'build/source'))
  for (const path of ['Makefile', 'build/net/a.o']) await utimes(join(base, path), OLD, OLD)
  const copy = join(await scratch(), 'source')
  await copyBuild(signal, base, copy)
  return {repo, from, base, copy}
}

/** Every file of a tree but those in build/, with its content. */
async function content(tree: string): Promise<Record<string, string>> {
  const entries = await readdir(tree, {recursive: true, withFileTypes: true})
  const paths = entries.filter((entry) => entry.isFile()).map(({parentPath, name}) => join(parentPath, name).slice(tree.length + 1))
  const sources = paths.filter((path) => !path.startsWith('build/')).sort()
  return Object.fromEntries(await Promise.all(sources.map(async (path) => [path, await readFile(join(tree, path), 'utf8')])))
}

/** Brings the copy to a commit; the copy as it is then. */
async function over({repo, from, copy}: {repo: Repository; from: string; copy: string}, changes: Files): Promise<Record<string, string>> {
  await checkOutOver(signal, repo.folder, from, await repo.commit(changes), copy)
  return await content(copy)
}

describe('a copy of a built tree', () => {
  it('has hard links for its sources, and objects of its own', async () => {
    const {base, copy} = await copied()
    const inodes = async (path: string) => [(await stat(join(base, path))).ino, (await stat(join(copy, path))).ino] as const
    for (const path of ['Makefile', 'net/a.c']) {
      const [one, other] = await inodes(path)
      expect(other, path).toBe(one)
    }
    const [object, own] = await inodes('build/net/a.o')
    expect(own).not.toBe(object)
    await writeFile(join(copy, 'build/net/a.o'), 'another\n')
    expect(await readFile(join(base, 'build/net/a.o'), 'utf8')).toBe('object\n')
  })

  it('keeps times and links, so that make finds nothing to do', async () => {
    const {copy} = await copied()
    for (const path of ['Makefile', 'build/net/a.o']) expect((await stat(join(copy, path))).mtime, path).toEqual(OLD)
    expect((await lstat(join(copy, 'build/source'))).isSymbolicLink()).toBe(true)
    expect(await readlink(join(copy, 'build/source'))).toBe('..')
  })

  it('has files whose names start with a dot or a hyphen, and no .git', async () => {
    const {copy} = await copied({'.clang-format': 'x\n', '-n': 'x\n', Makefile: 'all:\n'})
    expect((await readdir(copy)).sort()).toEqual(['-n', '.clang-format', 'Makefile', 'build'])
  })
})

describe('another commit over a copy', () => {
  it('replaces what differs, and writes nothing through to the base', async () => {
    const all = await copied()
    const before = await content(all.base)
    expect(await over(all, {'net/a.c': 'changed\n'})).toEqual({...before, 'net/a.c': 'changed\n'})
    expect(await content(all.base)).toEqual(before)
    expect((await stat(join(all.base, 'net/a.c'))).nlink).toBe(1)
  })

  it('does not touch what is the same', async () => {
    const all = await copied()
    await over(all, {'net/a.c': 'changed\n'})
    expect((await stat(join(all.copy, 'Makefile'))).mtime).toEqual(OLD)
    expect((await stat(join(all.copy, 'net/b.c'))).nlink).toBe(2)
    expect((await stat(join(all.copy, 'build/net/a.o'))).mtime).toEqual(OLD)
  })

  it.each<[string, Files]>([
    ['removes', {'net/a.c': null}],
    ['removes the last of a folder', {'net/a.c': null, 'net/b.c': null}],
    ['adds in new folders', {'drivers/net/new/c.c': 'c\n'}],
    ['moves', {'net/a.c': null, 'net/c.c': 'a\n'}],
    ['has a path with odd characters', {[ODD]: 'odd\n', [`net/${ODD}`]: 'odd\n'}],
    ['has a path that looks like an option', {'-f': 'x\n', '--all': 'x\n'}],
    ['has a folder where a file was', {'net/a.c': null, 'net/a.c/b.c': 'b\n'}],
    ['has a file where a folder was', {'net/a.c': null, 'net/b.c': null, net: 'a file\n'}],
    ['changes nothing', {}],
  ])('%s', async (_, changes) => {
    const all = await copied()
    const base = await content(all.base)
    const gone = Object.keys(changes).filter((path) => changes[path] === null)
    const expected = Object.fromEntries(Object.entries({...base, ...changes}).filter(([path]) => !gone.includes(path)))
    // With its empty folders, which would stand in the way of a file.
    if (gone.length > 0) await all.repo.git('rm', '-q', ...gone)
    const rest = Object.fromEntries(Object.entries(changes).filter(([path]) => !gone.includes(path)))
    expect(await over(all, rest)).toEqual(expected)
    expect(await content(all.base)).toEqual(base)
    expect(await readdir(all.copy)).not.toContain('.git')
  })

  it('removes a path with odd characters', async () => {
    const all = await copied({[ODD]: 'odd\n', Makefile: 'all:\n'})
    expect(await over(all, {[ODD]: null})).toEqual({Makefile: 'all:\n'})
  })

  it('takes the right to execute', async () => {
    const all = await copied()
    await all.repo.git('update-index', '--chmod=+x', 'net/a.c')
    await all.repo.git('commit', '-q', '-m', 'run it')
    await checkOutOver(signal, all.repo.folder, all.from, await all.repo.git('rev-parse', 'HEAD'), all.copy)
    expect((await stat(join(all.copy, 'net/a.c'))).mode & 0o111).not.toBe(0)
    expect((await stat(join(all.base, 'net/a.c'))).mode & 0o111).toBe(0)
  })

  it('may go back again', async () => {
    const all = await copied()
    const before = await content(all.copy)
    const to = await all.repo.commit({'net/a.c': null, 'net/b.c': 'changed\n', 'new/c.c': 'c\n'})
    await checkOutOver(signal, all.repo.folder, all.from, to, all.copy)
    await checkOutOver(signal, all.repo.folder, to, all.from, all.copy)
    expect(await content(all.copy)).toEqual(before)
  })
})

describe('the paths that differ', () => {
  it('are named as they are, a renamed file with both names', async () => {
    const repo = await repository({'a.c': 'text\n', [ODD]: 'odd\n', 'same.c': 'same\n'})
    const from = await repo.git('rev-parse', 'HEAD')
    const to = await repo.commit({'a.c': null, 'b.c': 'text\n', [ODD]: 'odder\n'})
    expect((await changedPaths(signal, repo.folder, from, to)).sort()).toEqual(['a.c', 'b.c', ODD])
    expect(await changedPaths(signal, repo.folder, from, from)).toEqual([])
  })
})
