import {readdirSync} from 'node:fs'
import {chmod, mkdir, readdir, readFile, rename, symlink, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {applyText} from '../../src/report/apply.js'
import {applySeries, type ApplyOptions, applyWhole, type Applied} from '../../src/tree/apply.js'
import {creation, fileWith, mail, numbered, read, type Repository, repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {type CouldNotRun, Interrupted} from '../../src/lib/errors.js'
import {type Source} from '../../src/tree/source.js'
import {complaint} from '../support/complaint.js'

async function apply(repo: Repository, series: string, options: Partial<ApplyOptions> = {}): Promise<Applied> {
  return await applySeries(contextIn(await scratch()), await read(series), {git: repo.folder, ...options})
}

const states = ({patches}: Applied) => patches.map(({state, files}) => [state, ...files.map(({state, hunks}) => [state, ...hunks.map(({state}) => state)].join(' '))])

describe('a series that applies', () => {
  it('gives tree and commit, and leaves everything as it was', async () => {
    const repo = await repository({'a.c': numbered(40), 'b.c': numbered(10), 'other/c.c': 'x\n'})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}, {'a.c': numbered(40, {20: 'changed twice'}), 'new/d.c': 'd\n'}])
    await repo.write({'b.c': 'work in progress\n', untracked: 'mine\n'})
    const before = await repo.state()
    const result = await apply(repo, folder)
    expect(result).toMatchObject({applied: true, base: await repo.git('rev-parse', 'HEAD'), branch: null})
    expect(states(result)).toEqual([
      ['applied', 'exact exact'],
      ['applied', 'exact exact', 'exact exact'],
    ])
    expect(await repo.git('show', `${result.commit}:a.c`)).toBe(numbered(40, {20: 'changed twice'}).trimEnd())
    expect(await repo.git('rev-parse', `${result.commit}^{tree}`)).toBe(result.tree)
    expect(await repo.git('log', '--format=%an %s', `${result.base}..${result.commit}`)).toBe('Ann Author change 2\nAnn Author change 1')
    expect(await repo.git('ls-tree', '-r', '--name-only', result.commit!)).toBe('a.c\nb.c\nnew/d.c\nother/c.c')
    expect(await repo.state()).toEqual(before)
    expect(await readdir(join(repo.folder, '.git/worktrees')).catch(() => [])).toEqual([])
  })

  it('is the same commit everywhere', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    const first = await apply(repo, folder)
    await repo.git('config', 'user.name', 'Somebody Else')
    await repo.git('config', 'user.email', 'else@example.org')
    expect((await apply(repo, folder)).commit).toBe(first.commit)
  })

  it('applies to --base, and with lines moved', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    await repo.commit({'a.c': `one more\n${numbered(40)}`})
    const moved = await apply(repo, folder)
    expect(moved.patches[0]!.files[0]!.hunks).toEqual([{line: 17, state: 'offset', offset: 1, nearest: null, difference: null, differs: null}])
    expect(states(moved)).toEqual([['applied', 'offset offset']])
    expect(states(await apply(repo, folder, {base: 'HEAD~1'}))).toEqual([['applied', 'exact exact']])
  })

  it('follows a rename by a three-way merge', async () => {
    const repo = await repository({'old.c': numbered(40)})
    const folder = await repo.series([{'old.c': numbered(40, {20: 'changed'})}])
    await repo.commit({'old.c': null, 'sub/new.c': numbered(40)})
    const result = await apply(repo, folder)
    expect(states(result)).toEqual([['merged', 'renamed exact']])
    expect(result.patches[0]!.files[0]).toMatchObject({path: 'old.c', renamedTo: 'sub/new.c'})
    expect(result.patches[0]!.mergedInto).toEqual([])
    expect(await repo.git('show', `${result.commit}:sub/new.c`)).toContain('changed')
    expect(await repo.git('ls-tree', '-r', '--name-only', result.commit!)).toBe('sub/new.c')
  })

  it('says where a three-way merge put a file that no rename in the history tells of', async () => {
    const repo = await repository({'old.c': numbered(40), 'b.c': numbered(40)})
    const folder = await repo.series([{'old.c': numbered(40, {20: 'changed'}), 'b.c': numbered(40, {20: 'changed'})}])
    await repo.commit({'old.c': null})
    await repo.commit({'sub/new.c': numbered(40)})
    const result = await apply(repo, folder)
    expect(states(result)).toEqual([['merged', 'exact exact', 'missing']])
    expect(result.patches[0]!.mergedInto).toEqual(['sub/new.c'])
    expect(applyText(result)).toContain('old.c: is not in the tree, and no rename of it was found: git merged it into sub/new.c\n')
  })

  it('is in the tree already', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'}), 'n.c': 'n\n'}, {'a.c': numbered(40, {20: 'changed', 30: 'more'})}])
    const head = await repo.commit({'a.c': numbered(40, {20: 'changed'}), 'n.c': 'n\n'})
    const result = await apply(repo, folder)
    expect(states(result)).toEqual([
      ['already-applied', 'already-applied already-applied', 'already-applied already-applied'],
      ['applied', 'exact exact'],
    ])
    expect(await repo.git('rev-parse', `${result.commit}^`)).toBe(head)
  })

  it('may be CRLF in transit, or in its files', async () => {
    const repo = await repository({'unix.c': numbered(9), 'dos.c': numbered(9).replaceAll('\n', '\r\n')})
    const dos = numbered(9, {5: 'changed'}).replaceAll('\n', '\r\n')
    const unix = numbered(9, {5: 'changed'})
    const inFiles = await apply(repo, await repo.series([{'dos.c': dos}]))
    expect(await repo.git('show', `${inFiles.commit}:dos.c`)).toBe(dos.trimEnd())
    const [name] = await readdir(await repo.series([{'unix.c': unix}]))
    const folder = await repo.series([{'unix.c': unix}])
    await writeFile(join(folder, name!), (await readFile(join(folder, name!), 'utf8')).replaceAll('\n', '\r\n'))
    const onTheWay = await apply(repo, folder)
    expect(await repo.git('show', `${onTheWay.commit}:unix.c`)).toBe(unix.trimEnd())
    expect(await repo.git('log', '-1', '--format=%B', onTheWay.commit!)).not.toContain('\r')
  })

  it('may be base64 with CRLF within, and RFC 2047', async () => {
    const repo = await repository({'a.c': 'one\n'})
    const body = Buffer.from(`Why ä.\n---\n${creation('new.c')}`.replaceAll('\n', '\r\n')).toString('base64')
    const head = 'From: =?UTF-8?q?J=C3=B6rg?= <j@example.org>\nSubject: [PATCH] =?UTF-8?q?=C3=A4?=\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: base64\n'
    const result = await apply(repo, await fileWith(`${head}\n${body}\n`))
    expect(await repo.git('log', '-1', '--format=%an %s %b', result.commit!)).toBe('Jörg ä Why ä.\n')
    expect(await repo.git('show', `${result.commit}:new.c`)).toBe('text')
  })

  it('may have hostile names', async () => {
    const names = ['-rf', '--help', 'a b', '*', '[x]', ':(top)x', 'ü', 'tab\t', 'q"uote', "'; touch pwned; '", '$(touch pwned)', '!x', '#x', 'back\\slash', 'new\nline', ' lead']
    const repo = await repository(Object.fromEntries(names.map((name) => [name, numbered(9)])))
    const folder = await repo.series([Object.fromEntries(names.map((name) => [name, numbered(9, {5: 'changed'})]))])
    const result = await apply(repo, folder)
    expect(result.patches[0]!.files.map(({path}) => path).sort()).toEqual([...names].sort())
    expect(new Set(result.patches[0]!.files.map(({state}) => state))).toEqual(new Set(['exact']))
    expect((await repo.git('diff', '--name-only', '-z', 'HEAD', result.commit!)).split('\0').filter(Boolean)).toHaveLength(names.length)
    expect(await readdir(repo.folder)).not.toContain('pwned')
  })

  it('applies whatever the user has set, without hooks', async () => {
    const dos = numbered(9).replaceAll('\n', '\r\n')
    const repo = await repository({'a.c': numbered(40), 'dos.c': dos})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'trailing blank '}), 'dos.c': dos.replace('line 5', 'five')}])
    const patch = join(folder, '0001-change-1.patch')
    await writeFile(patch, (await readFile(patch, 'utf8')).replace('\n---\n', 'Before.\n-- >8 --\nAfter.\n---\n').replace('\nDate:', '\nMessage-ID: <one@example.org>\nDate:'))
    const plain = await apply(repo, folder)
    expect(await repo.git('log', '-1', '--format=%b', plain.commit!)).toBe('Before.\n-- >8 --\nAfter.\n')
    const bad = join(repo.folder, '.git/hooks')
    for (const hook of ['applypatch-msg', 'pre-applypatch', 'post-applypatch', 'pre-commit', 'post-checkout', 'prepare-commit-msg', 'post-merge', 'reference-transaction']) {
      await writeFile(join(bad, hook), `#!/bin/sh\ntouch '${repo.folder}/hooked'\nexit 1\n`)
      await chmod(join(bad, hook), 0o755)
    }
    const settings = {
      ...{'commit.gpgSign': 'true', 'gpg.program': '/bin/false', 'core.autocrlf': 'true', 'am.keepcr': 'true', 'am.threeWay': 'false', 'am.messageid': 'true'},
      ...{'apply.whitespace': 'error', 'mailinfo.scissors': 'true', 'rerere.enabled': 'true', 'user.useConfigOnly': 'true', 'core.eol': 'crlf'},
      ...{'color.ui': 'always', 'core.fsmonitor': '/bin/false', 'diff.noprefix': 'true', 'core.quotePath': 'false', 'merge.conflictStyle': 'diff3'},
    }
    for (const [name, value] of Object.entries(settings)) await repo.git('config', name, value)
    expect((await apply(repo, folder)).commit).toBe(plain.commit)
    const {branch} = await apply(repo, folder, {inPlace: true})
    expect(branch).toBe('main')
    expect(await readdir(repo.folder)).not.toContain('hooked')
    expect(await readdir(join(repo.folder, '.git'))).not.toContain('rr-cache')
  })

  it('applies in place in a copy of a tree, whose index knows other times', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    // The same bytes in another file, as cp -a leaves them.
    const content = await readFile(join(repo.folder, 'a.c'))
    await writeFile(join(repo.folder, 'copy'), content)
    await rename(join(repo.folder, 'copy'), join(repo.folder, 'a.c'))
    await utimes(join(repo.folder, 'a.c'), 1, 1)
    expect((await apply(repo, folder, {inPlace: true})).branch).toBe('main')
  })

  it('applies to a bare repository', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    const bare = join(await scratch(), 'bare.git')
    await repo.git('clone', '-q', '--bare', repo.folder, bare)
    const context = contextIn(await scratch())
    expect(await applySeries(context, await read(folder), {git: bare})).toMatchObject({applied: true})
    expect(await complaint(applySeries(context, await read(folder), {git: bare, inPlace: true}))).toMatch(/bare repository/)
  })
})

describe('a series that does not apply', () => {
  const conflicting = async () => {
    const repo = await repository({'a.c': numbered(40), 'b.c': numbered(40)})
    const folder = await repo.series([{'b.c': numbered(40, {5: 'fine'})}, {'a.c': numbered(40, {20: 'changed'})}, {'b.c': numbered(40, {5: 'finer'})}])
    await repo.commit({'a.c': numbered(40, {20: 'something else'})})
    // git would note the conflict for the user's own rerere.
    await repo.git('config', 'rerere.enabled', 'true')
    return {repo, folder}
  }

  it.each([false, true])('says what is in its way, and changes nothing (in place: %s)', async (inPlace) => {
    const {repo, folder} = await conflicting()
    const before = await repo.state()
    const result = await apply(repo, folder, {inPlace})
    expect(result).toMatchObject({applied: false, tree: null, commit: null, branch: null})
    expect(states(result)).toEqual([
      ['applied', 'exact exact'],
      ['conflict', 'conflict conflict'],
      ['not-tried', 'exact exact'],
    ])
    expect(result.patches[1]!.files[0]!.hunks[0]).toMatchObject({line: 17, nearest: 17})
    expect(result.patches[1]!.files[0]!.hunks[0]!.difference).toContain('-line 20\n+something else\n')
    expect(result.patches[1]!.words.join()).toContain('CONFLICT (content): Merge conflict in a.c')
    expect(await repo.state()).toEqual(before)
    expect(await readdir(join(repo.folder, '.git/worktrees')).catch(() => [])).toEqual([])
  })

  it.each<[string, Partial<Source>, RegExp]>([
    ['a tree of one\'s own', {origin: {git: 'x'}}, /--git \S+ --base [\da-f]{40}$/],
    ['the distribution', {origin: {'linux-source-6.12': '1 sha256:00'}}, /--source 6\.12$/],
  ])('is told where all of it was wanted, on %s, with the command that shows more', async (_, more, command) => {
    const {repo, folder} = await conflicting()
    const source = {tree: 'linux', line: '6.12', label: 'linux 6.12.7', directory: repo.folder, commit: await repo.git('rev-parse', 'HEAD'), ...more} as Source
    const error = await applyWhole(contextIn(await scratch()), await read(folder), source, {name: 'candidate x', path: folder}).catch((error: unknown) => error as CouldNotRun)
    expect(error).toMatchObject({name: 'CouldNotRun', message: 'candidate x does not apply to linux 6.12.7'})
    const lines = (error as CouldNotRun).detail.split('\n')
    expect(lines.slice(0, 3)).toEqual(['change 2 (0002-change-2.patch):', '  a.c: hunk at line 17 fits nowhere; the nearest place is line 17', '  the three-way merge left a conflict in a.c'])
    expect(lines[3]).toMatch(new RegExp(`^what differs there is shown by: patchbench apply ${folder} ${command.source}`))
    expect(lines).toHaveLength(4)
  })

  it('names files that are missing, and files that are there already', async () => {
    const repo = await repository({'a.c': numbered(40), 'x.c': 'x\n'})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'}), 'n.c': 'n\n'}])
    await repo.commit({'a.c': null, 'n.c': 'something else\n'})
    expect(states(await apply(repo, folder))).toEqual([['conflict', 'missing', 'exists conflict']])
  })

  it('judges later patches on what of it fits', async () => {
    const repo = await repository({'a.c': numbered(60)})
    const first = numbered(60, {10: 'changed', 50: 'changed'})
    const folder = await repo.series([{'a.c': first}, {'a.c': first.replace('line 52', 'after it')}, {'a.c': first.replace('line 52', 'twice after it')}])
    await repo.commit({'a.c': numbered(60, {9: 'something else'})})
    expect(states(await apply(repo, folder))).toEqual([
      ['conflict', 'conflict conflict exact'],
      ['not-tried', 'exact exact'],
      ['not-tried', 'exact exact'],
    ])
  })

  it('is refused behind a symbolic link of the tree before git runs', async () => {
    const repo = await repository({'net/x.c': 'x\n'})
    await symlink('net', join(repo.folder, 'doc'))
    await repo.commit({}, 'link')
    expect(await complaint(apply(repo, await fileWith(mail(creation('doc/y.c')))))).toMatch(/doc\/y\.c lies behind doc, a symbolic link in the tree/)
    const submodule = await repo.git('rev-parse', 'HEAD')
    await repo.git('update-index', '--add', '--cacheinfo', `160000,${submodule},sub`)
    await repo.git('commit', '-q', '-m', 'submodule')
    expect(await complaint(apply(repo, await fileWith(mail(creation('sub/y.c')))))).toMatch(/changes the submodule sub/)
  })
})

describe('in place', () => {
  it('the branch has the series, with the user as committer', async () => {
    const repo = await repository({'a.c': numbered(40), 'b.c': 'b\n'})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    await repo.git('config', 'user.name', 'Uma User')
    await repo.git('config', 'user.email', 'uma@example.org')
    await repo.write({untracked: 'mine\n'})
    const result = await apply(repo, folder, {inPlace: true})
    expect(result).toMatchObject({applied: true, branch: 'main', commit: await repo.git('rev-parse', 'main')})
    expect(await readFile(join(repo.folder, 'a.c'), 'utf8')).toBe(numbered(40, {20: 'changed'}))
    expect(await repo.git('status', '--porcelain')).toBe('?? untracked')
    expect(await repo.git('log', '-1', '--format=%an %cn')).toBe('Ann Author Uma User')
  })

  it('works where no user.name is set', async () => {
    const repo = await repository({'a.c': numbered(40)})
    await repo.git('config', 'user.useConfigOnly', 'true')
    await apply(repo, await repo.series([{'a.c': numbered(40, {20: 'changed'})}]), {inPlace: true})
    expect(await repo.git('log', '-1', '--format=%cn %s')).toBe('patchbench change 1')
  })

  it.each<[string, (repo: Repository) => Promise<unknown>, RegExp]>([
    ['changes', async (repo) => await repo.write({'a.c': 'mine\n'}), /has changes that are not committed \(a\.c\): commit them or 'git stash' them first$/],
    ['staged changes', async (repo) => [await repo.write({'n.c': 'mine\n'}), await repo.git('add', 'n.c')], /has changes that are not committed \(n\.c\)/],
    ['an am', async (repo) => await mkdir(join(repo.folder, '.git/rebase-apply')).then(() => writeFile(join(repo.folder, '.git/rebase-apply/applying'), '')), /a git am is in progress/],
    ['a rebase', async (repo) => await mkdir(join(repo.folder, '.git/rebase-merge')), /a git rebase is in progress in .*: end it with 'git rebase --continue' or 'git rebase --abort'$/],
    ['no branch', async (repo) => await repo.git('checkout', '-q', '--detach'), /no branch is checked out/],
  ])('is refused with %s', async (_, prepare, sentence) => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    await prepare(repo)
    const before = await repo.state()
    expect(await complaint(apply(repo, folder, {inPlace: true}))).toMatch(sentence)
    expect(await repo.state()).toEqual(before)
  })

  it('is refused with another --base', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    await repo.commit({})
    expect(await complaint(apply(repo, folder, {inPlace: true, base: 'HEAD~1'}))).toMatch(/whose commit is not --base/)
  })

  it.each(['', 'n.c'])('leaves a file alone that is in the way (ignored: %s)', async (ignored) => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'}), 'n.c': 'theirs\n'}])
    await repo.write({'n.c': 'mine\n', '.git/info/exclude': ignored})
    const before = await repo.state()
    expect(await complaint(apply(repo, folder, {inPlace: true}))).toMatch(/the file n\.c, which is not committed, is in the way: move it$/)
    expect(await repo.state()).toEqual(before)
    expect(await readFile(join(repo.folder, 'n.c'), 'utf8')).toBe('mine\n')
  })
})

describe('the worktree', () => {
  it('has only the files of the series in it, and is gone afterwards, after an interruption too', async () => {
    const repo = await repository({'a.c': numbered(40), 'b.c': 'b\n'})
    const series = await read(await repo.series([{'a.c': numbered(40, {20: 'changed'})}]))
    const [cache, stop] = [await scratch(), new AbortController()]
    const context = contextIn(cache, stop.signal)
    let seen: string[] = []
    const before = await repo.state()
    const progress = () => {
      const home = readdirSync(join(cache, 'worktrees')).find((name) => !name.endsWith('.lock'))!
      seen = readdirSync(join(cache, 'worktrees', home, 'patchbench'))
      stop.abort(new Interrupted())
    }
    await expect(applySeries({...context, progress}, series, {git: repo.folder})).rejects.toThrow(Interrupted)
    expect(seen.sort()).toEqual(['.git', 'a.c'])
    expect(await repo.state()).toEqual(before)
    const [home] = (await readdir(join(cache, 'worktrees'))).filter((name) => !name.endsWith('.lock'))
    expect(await readdir(join(cache, 'worktrees', home!))).toEqual([])
  })

  it('of the user that is away is not forgotten', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([{'a.c': numbered(40, {20: 'changed'})}])
    const away = join(await scratch(), 'away')
    await repo.git('worktree', 'add', '-q', '-b', 'other', away)
    await rename(away, `${away}.unmounted`)
    await apply(repo, folder)
    expect(await repo.git('worktree', 'list', '--porcelain')).toContain(away)
  })
})
