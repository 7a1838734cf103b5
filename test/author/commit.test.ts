import {readFileSync} from 'node:fs'
import {cp, lstat, mkdir, readdir, readFile, readlink, rename, rm, writeFile} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {describe, expect, it} from 'vitest'
import {caseFiles} from '../../src/author/casefiles.js'
import {commitWork} from '../../src/author/commit.js'
import {writeCase} from '../../src/author/newcase.js'
import {withWork} from '../../src/author/series.js'
import {checkOutSeries, editingOf, placeOf} from '../../src/author/worktree.js'
import {type Case, loadCase} from '../../src/case/case.js'
import {commitCommand} from '../../src/commands/edit.js'
import {Interrupted} from '../../src/lib/errors.js'
import {readSeries} from '../../src/series/series.js'
import {applySeries} from '../../src/tree/apply.js'
import {complaint} from '../support/complaint.js'
import {type Files, numbered, type Repository, repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'

const signal = new AbortController().signal
const BASE = {'a.c': numbered(60), 'b.c': numbered(20), 'c.c': 'c\n'}
const FIRST = numbered(60, {10: 'first', 11: 'first too'})
const SECOND = numbered(60, {10: 'first', 11: 'first too', 50: 'second'})

type Edited = {repo: Repository; one: Case; folder: string; series: string; context: ReturnType<typeof contextIn>}

/** A case whose series of two patches is edited, in a worktree of the tree or in a repository of its own. */
async function edited({isOwn = true, args = ['--cover-letter', '--subject-prefix=PATCH net v2'], at}: {isOwn?: boolean; args?: string[]; at?: string} = {}): Promise<Edited> {
  const repo = await repository(BASE)
  const made = await repo.series([{'a.c': FIRST}, {'a.c': SECOND, 'b.c': numbered(20, {5: 'of the second'})}], {titles: ['first', 'second'], args})
  const cases = await scratch()
  const files = await Promise.all((await readdir(made)).map(async (name) => [`linux/fix/6.12/${name}`, {content: await readFile(join(made, name))}] as const))
  await writeCase({cases}, 'mine', {...(await caseFiles('mine', {title: 'a bug', tree: 'linux', kernels: ['6.12'], candidate: 'fix'})), ...Object.fromEntries(files)})
  const one = await loadCase('mine', cases)
  const series = one.candidates[0]!.series['6.12']!
  const context = contextIn(await scratch())
  const base = await repo.git('rev-parse', 'HEAD')
  const {commit} = await applySeries(context, await readSeries(signal, [series]), {git: repo.folder, base})
  const folder = at ?? placeOf(one)
  await checkOutSeries(context, {one, candidate: 'fix', line: '6.12', folder, from: {directory: repo.folder, base, tip: commit!}, isOwn})
  return {repo, one, folder, series, context}
}

async function write(folder: string, files: Files): Promise<void> {
  for (const [path, text] of Object.entries(files)) await (text === null ? rm(join(folder, path)) : writeFile(join(folder, path), text))
}

/** What each patch of the series adds and takes away, by its title. */
async function contents(series: string): Promise<Record<string, string[]>> {
  const {patches} = await readSeries(signal, [series])
  return Object.fromEntries(patches.map(({title, diff}) => [title, diff.split('\n').filter((line) => /^[-+](?![-+])/.test(line))]))
}

async function state(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, {recursive: true, withFileTypes: true})).filter((entry) => entry.isFile())
  return Object.fromEntries(await Promise.all(names.map(async (entry) => [join(entry.parentPath, entry.name), await readFile(join(entry.parentPath, entry.name), 'utf8')] as const)))
}

describe('a series is checked out', () => {
  it('in a worktree of the tree, on a branch of its own', async () => {
    const {repo, folder, one} = await edited()
    expect(await repo.git('-C', folder, 'log', '--format=%s %an', '-2')).toBe('second Ann Author\nfirst Ann Author')
    expect(await repo.git('-C', folder, 'symbolic-ref', '--short', 'HEAD')).toBe('patchbench/mine-fix-6.12')
    expect(await repo.git('symbolic-ref', '--short', 'HEAD')).toBe('main')
    expect(await readFile(join(folder, 'a.c'), 'utf8')).toBe(SECOND)
    expect(await editingOf(signal, one)).toMatchObject({candidate: 'fix', line: '6.12', base: await repo.git('rev-parse', 'main')})
  })

  it('in a repository that needs no other', async () => {
    const {repo, folder} = await edited({isOwn: false})
    const base = await repo.git('rev-parse', 'main')
    await rm(repo.folder, {recursive: true})
    const git = async (...args: string[]) => (await import('execa')).execa('git', ['-C', folder, ...args])
    expect((await git('fsck', '--full')).exitCode).toBe(0)
    expect((await git('log', '--format=%s')).stdout).toBe('second\nfirst\nthe beginning')
    expect((await git('rev-parse', 'base')).stdout).toBe(base)
    expect((await git('status', '--porcelain')).stdout).toBe('')
  })

  it('where the user says, with a link beside the case', async () => {
    const at = join(await scratch(), 'work')
    const {one} = await edited({at})
    expect(await readlink(placeOf(one))).toBe(at)
    expect((await editingOf(signal, one))!.tree.directory).toBe(at)
    await rm(at, {recursive: true})
    expect(await complaint(editingOf(signal, one))).toMatch(/mine\.edit leads nowhere: .* remove the link/)
  })

  it('not over what is there', async () => {
    const {repo, one, context} = await edited()
    const checkout = {one, candidate: 'fix', line: '6.12', folder: placeOf(one), from: {directory: repo.folder, base: 'main', tip: 'main'}, isOwn: true}
    expect(await complaint(checkOutSeries(context, checkout))).toMatch(/mine\.edit is there already: 'patchbench commit mine'/)
    await rename(placeOf(one), `${placeOf(one)}.away`)
    expect(await complaint(checkOutSeries(context, checkout))).toMatch(/has a branch patchbench\/mine-fix-6\.12 already/)
    await mkdir(placeOf(one))
    expect(await complaint(editingOf(signal, one))).toMatch(/mine\.edit/)
  })
})

describe('work becomes part of the series:', () => {
  it('each change in the patch that wrote the lines around it', async () => {
    const {one, folder, series, context, repo} = await edited()
    await write(folder, {'a.c': SECOND.replace('first too', 'first again').replace('second\n', 'second\nand more\n'), 'b.c': numbered(20, {5: 'of the second, better'})})
    const done = await commitWork(context, one, undefined)
    expect(done.changes).toEqual([
      {path: 'a.c', line: 11, patch: 'first'},
      {path: 'a.c', line: 51, patch: 'second'},
      {path: 'b.c', line: 5, patch: 'second'},
    ])
    expect(await contents(series)).toEqual({
      first: ['-line 10', '-line 11', '+first', '+first again'],
      second: ['-line 50', '+second', '+and more', '-line 5', '+of the second, better'],
    })
    expect(await repo.git('-C', folder, 'status', '--porcelain')).toBe('')
    expect(await repo.git('-C', folder, 'log', '--format=%s', 'main..')).toBe('second\nfirst')
    // Once more there is nothing to do.
    expect(await commitWork(context, one, undefined)).toMatchObject({changed: false, changes: []})
  })

  it('a change of other lines goes to the last patch of the file', async () => {
    const {one, folder, series, context} = await edited()
    await write(folder, {'a.c': SECOND.replace('line 30\n', '')})
    expect((await commitWork(context, one, undefined)).changes).toEqual([{path: 'a.c', line: 30, patch: 'second'}])
    expect((await contents(series)).second).toContain('-line 30')
  })

  it('all of it goes to the patch that is named, by number or subject', async () => {
    const {one, folder, series, context} = await edited()
    await write(folder, {'c.c': 'changed\n'})
    await commitWork(context, one, '1')
    expect((await contents(series)).first).toContain('+changed')
    await write(folder, {'c.c': 'changed again\n'})
    await commitWork(context, one, 'sec')
    expect((await contents(series)).second).toEqual(expect.arrayContaining(['-changed', '+changed again']))
  })

  it('a file that no patch has to do with is refused with its place, and all stays', async () => {
    const {one, folder, series, context} = await edited()
    await write(folder, {'c.c': 'changed\n', 'a.c': SECOND.replace('first too', 'other')})
    const before = [await state(dirname(series)), await state(folder)]
    expect(await complaint(commitWork(context, one, undefined))).toMatch(/^c\.c:1: no patch of the series has to do with what is changed there: name the one that it belongs to by --patch/)
    expect(await complaint(commitWork(context, one, '3'))).toMatch(/--patch 3 is none of the patches: 1 'first', 2 'second'/)
    expect([await state(dirname(series)), await state(folder)]).toEqual(before)
  })

  it('a patch that is not there is refused, also where nothing changed', async () => {
    const {one, context} = await edited()
    expect(await complaint(commitWork(context, one, '7'))).toMatch(/^--patch 7 is none of the patches: 1 'first', 2 'second'$/)
  })

  it('a new file and one that is removed', async () => {
    const {one, folder, series, context, repo} = await edited()
    // A distribution's source may ignore all that is new; what make leaves is nobody's work.
    await writeFile(resolve(folder, await repo.git('-C', folder, 'rev-parse', '--git-path', 'info/exclude')), '/*\n')
    await write(folder, {'new.c': 'new\n', 'b.c': null, 'stray.c': 'stray\n', 'stray.o': '', 'stray.mod.c': ''})
    await repo.git('-C', folder, 'add', '-f', 'new.c')
    const done = await commitWork(context, one, '2')
    expect(done.untracked).toEqual(['stray.c'])
    const {patches} = await readSeries(signal, [series])
    expect(patches[1]!.files.map(({path, kind}) => `${kind} ${path}`)).toEqual(['modify a.c', 'delete b.c', 'create new.c'])
    expect(await readFile(join(folder, 'stray.c'), 'utf8')).toBe('stray\n')
  })

  it('a file at the top is named where the distribution ignores all that is new', async () => {
    const {one, folder, context} = await edited()
    await write(folder, {'.gitignore': '# rules\n.*\n*.o\n/vmlinux\n/*\n!/debian/\n', 'notes.txt': '', 'x.o': '', vmlinux: '', 'own.c': ''})
    expect((await commitWork(context, one, undefined)).untracked).toEqual(['notes.txt', 'own.c'])
  })

  it('a change that conflicts with a later patch is refused, and all stays', async () => {
    const {one, folder, series, context} = await edited()
    await write(folder, {'a.c': SECOND.replace('second', 'neither')})
    const before = [await state(dirname(series)), await state(folder)]
    expect(await complaint(commitWork(context, one, '1'))).toMatch(/does not fit the patch that it belongs to without the later ones \(a\.c\): name a later patch by --patch.*nothing was changed/)
    expect([await state(dirname(series)), await state(folder)]).toEqual(before)
  })

  it('commits of the author are patches, and fixups are squashed', async () => {
    const {one, folder, series, context, repo} = await edited()
    await write(folder, {'c.c': 'third\n'})
    await repo.git('-C', folder, 'commit', '-qam', 'third')
    await write(folder, {'a.c': SECOND.replace('first too', 'fixed up')})
    await repo.git('-C', folder, 'commit', '-qam', 'fixup! first')
    const done = await commitWork(context, one, undefined)
    expect(done.patches).toEqual(['first', 'second', 'third'])
    expect((await contents(series)).first).toContain('+fixed up')
    expect((await readdir(series)).sort()).toEqual(['0000-cover-letter.patch', '0001-first.patch', '0002-second.patch', '0003-third.patch'])
    expect(await readFile(join(series, '0000-cover-letter.patch'), 'utf8')).toMatch(/^Subject: \[PATCH net v2 0\/3\]/m)
    expect(await readFile(join(series, '0003-third.patch'), 'utf8')).toMatch(/^Subject: \[PATCH net v2 3\/3\] third/m)
  })

  it('what is no part of a commit is kept: notes, recipients, the base, and other files', async () => {
    const {one, folder, series, context} = await edited({args: []})
    const [first] = (await readdir(series)).sort()
    const text = await readFile(join(series, first!), 'utf8')
    const base = 'b'.repeat(40)
    await writeFile(join(series, first!), `${text.replace('\n---\n', '\n---\nv2: said more\n\n').replace('\n\n', '\nTo: a@example.org\nCc: b@example.org,\n c@example.org\n\n')}\nbase-commit: ${base}\n`)
    await writeFile(join(series, 'notes.txt'), 'mine\n')
    await write(folder, {'a.c': SECOND.replace('first too', 'other')})
    await commitWork(context, one, undefined)
    const after = await readFile(join(series, first!), 'utf8')
    expect(after).toContain('\n---\nv2: said more\n\n a.c | ')
    expect(after).toMatch(/\nTo: a@example\.org\nCc: b@example\.org,\n c@example\.org\n\n/)
    expect(after).toMatch(new RegExp(`\\nbase-commit: ${base}\\n$`))
    expect(after).toContain('Subject: [PATCH 1/2] first')
    expect(await readFile(join(series, 'notes.txt'), 'utf8')).toBe('mine\n')
    expect(await readdir(dirname(series))).toEqual(['6.12'])
  })

  it('an interruption when the branch has moved comes too late, and one before changes nothing', async () => {
    const {one, folder, series, context, repo} = await edited()
    await write(folder, {'a.c': SECOND.replace('first too', 'other')})
    const head = async () => await repo.git('-C', folder, 'rev-parse', 'HEAD')
    const before = [await state(dirname(series)), await head()]
    await expect(commitWork({...context, signal: AbortSignal.abort(new Interrupted())}, one, undefined)).rejects.toThrow(Interrupted)
    expect([await state(dirname(series)), await head()]).toEqual(before)

    const branch = resolve(folder, await repo.git('-C', folder, 'rev-parse', '--git-path', await repo.git('-C', folder, 'symbolic-ref', 'HEAD')))
    const interruption = new AbortController()
    const watching = setInterval(() => {
      if (readFileSync(branch, 'utf8').trim() !== before[1]) interruption.abort(new Interrupted())
    }, 1)
    const done = await commitWork({...context, signal: interruption.signal}, one, undefined).finally(() => clearInterval(watching))
    expect(interruption.signal.aborted).toBe(true)
    expect(done.changed).toBe(true)
    expect((await contents(series)).first).toContain('+other')
    expect(await readdir(dirname(series))).toEqual(['6.12'])
    expect(await repo.git('-C', folder, 'status', '--porcelain')).toBe('')
  })

  it('after a kill between two renames too', async () => {
    const {one, folder, series, context} = await edited()
    await write(folder, {'a.c': SECOND.replace('first too', 'other')})
    await rename(series, join(dirname(series), '.6.12.before'))
    await commitCommand(context, 'mine', {cases: dirname(one.directory)})
    expect((await contents(series)).first).toContain('+other')
    await cp(series, join(dirname(series), '.6.12.before'), {recursive: true})
    await commitCommand(context, 'mine', {cases: dirname(one.directory)})
    expect(await readdir(dirname(series))).toEqual(['6.12'])
  })

  it.each<[what: string, make: (edited: Edited) => Promise<unknown>, sentence: RegExp]>([
    ['nobody edits', async ({folder, repo}) => await repo.git('worktree', 'move', folder, `${folder}.away`), /nobody edits 'mine': 'patchbench edit mine'/],
    ['a rebase goes on', async ({folder, repo}) => await repo.git('-C', folder, 'rebase', '-q', '--exec', 'false', 'main').catch(() => {}), /a git rebase is in progress in .*: end it with 'git rebase --continue'/],
    ['it is on another base', async ({folder, repo}) => await repo.git('-C', folder, 'checkout', '-q', '--orphan', 'x').then(async () => await repo.git('-C', folder, 'commit', '-qm', 'x')), /is not on top of [0-9a-f]{12}, which it was checked out on/],
    ['nothing is left', async ({folder, repo}) => await repo.git('-C', folder, 'reset', '-q', '--hard', 'main'), /has no commit on top of its base/],
  ])('not where %s', async (_, make, sentence) => {
    const one = await edited()
    await make(one)
    expect(await complaint(commitWork(one.context, one.one, undefined))).toMatch(sentence)
  })
})

it('the work as it is can be compared: the commits, and what is not committed as one more patch', async () => {
  const {one, folder, repo} = await edited()
  await write(folder, {'a.c': SECOND.replace('first too', 'other')})
  const index = await readFile(join(repo.folder, '.git/worktrees/mine.edit/index'))
  const into = join(await scratch(), 'series')
  const editing = (await editingOf(signal, one))!
  const worked = await withWork(signal, one, editing, into)
  expect((await readSeries(signal, [worked.candidates[0]!.series['6.12']!])).patches.map(({title}) => title)).toEqual(['first', 'second', 'work that is not committed'])
  await write(folder, {'a.c': SECOND})
  expect((await readSeries(signal, [(await withWork(signal, one, editing, into)).candidates[0]!.series['6.12']!])).patches).toHaveLength(2)
  expect(await readFile(join(repo.folder, '.git/worktrees/mine.edit/index'))).toEqual(index)
  expect((await lstat(folder)).isDirectory()).toBe(true)
})
