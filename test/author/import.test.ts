import {mkdir, readdir, readFile, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {findSeries, plainMail, statedBase} from '../../src/author/mails.js'
import {loadCase} from '../../src/case/case.js'
import {importCommand, type ImportCommandOptions} from '../../src/commands/import.js'
import {complaint} from '../support/complaint.js'
import {fileWith, mail, numbered, read, readOne, type Repository, repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {LINUX} from '../support/tarball.js'

const signal = new AbortController().signal
const TREE = {...LINUX, Kbuild: 'obj-$(CONFIG_NET) += net/\n', 'net/Makefile': 'obj-$(CONFIG_ODDITY) += a.o\n', 'net/a.c': numbered(40), 'net/b.c': 'b\n'}
const CHANGED = {'net/a.c': numbered(40, {20: 'changed'})}

async function importInto(cases: string, words: string[], options: Partial<ImportCommandOptions>) {
  const {text, exit} = await importCommand(contextIn(await scratch()), words, {candidate: 'as-proposed', cases, json: true, ...options})
  return {exit, said: JSON.parse(text) as Record<string, unknown>}
}

async function linux(): Promise<{repo: Repository; folder: string}> {
  const repo = await repository(TREE)
  return {repo, folder: await repo.series([CHANGED, {'net/b.c': 'better\n'}], {titles: ['net: mend a', 'net: mend b'], args: ['--cover-letter']})}
}

describe('a series becomes a case', () => {
  it('with what is known of it, for the line that it applies to', async () => {
    const {repo, folder} = await linux()
    const cases = await scratch()
    const {exit, said} = await importInto(cases, [folder], {source: repo.folder, name: 'mine'})
    expect(exit).toBe(0)
    expect(said).toMatchObject({case: 'mine', lines: ['6.12'], patches: ['net: mend a', 'net: mend b'], files: ['net/a.c', 'net/b.c'], candidate: 'as-proposed'})
    expect(said.lacking).toEqual([{symbol: 'ODDITY', path: 'net/a.c'}])
    const one = await loadCase('mine', cases)
    expect(Object.keys(one.candidates[0]!.series)).toEqual(['6.12'])
    const names = (await readdir(one.candidates[0]!.series['6.12']!)).sort()
    expect(names).toEqual(['0000-cover-letter.patch', '0001-net-mend-a.patch', '0002-net-mend-b.patch'])
    expect((await read(one.candidates[0]!.series['6.12']!)).patches.map(({diff}) => diff)).toEqual((await read(folder)).patches.map(({diff}) => diff))
    expect(await readFile(join(cases, 'mine/mine.config'), 'utf8')).toContain('CONFIG_ODDITY=y  # net/a.c')
  })

  it('from a range of commits, on the base that it has there', async () => {
    const repo = await repository(TREE)
    const base = await repo.git('rev-parse', 'HEAD')
    await repo.git('checkout', '-q', '-b', 'work')
    await repo.commit(CHANGED, 'net: mend a')
    await repo.git('config', 'format.attach', 'true')
    await repo.git('config', 'diff.noprefix', 'true')
    const before = await repo.state()
    const cases = await scratch()
    const {said} = await importInto(cases, ['main..work'], {git: repo.folder})
    expect(said).toMatchObject({case: 'net-mend-a', base, lines: ['6.12'], patches: ['net: mend a']})
    expect((await loadCase('net-mend-a', cases)).candidates[0]!.base).toBe(base)
    expect(await repo.state()).toEqual(before)
  })

  it('not where it applies nowhere or is there already, which is said', async () => {
    const {repo, folder} = await linux()
    const cases = await scratch()
    await repo.commit({'net/a.c': numbered(40, {20: 'something else'})})
    const {exit, said} = await importInto(cases, [folder], {source: repo.folder, name: 'mine'})
    expect([exit, said.case, await readdir(cases)]).toEqual([1, null, []])
    expect(said.tried).toMatchObject([{applies: false, why: "'net: mend a' does not apply"}])
    await repo.commit({...CHANGED, 'net/b.c': 'better\n'})
    expect((await importInto(cases, [folder], {source: repo.folder})).said.tried).toMatchObject([{applies: false, why: 'it is in the tree already'}])
  })

  it('on the base that its mails state, where the tree has it', async () => {
    const {repo, folder} = await linux()
    const base = await repo.git('rev-parse', 'HEAD')
    const [name] = (await readdir(folder)).sort()
    await writeFile(join(folder, name!), `${await readFile(join(folder, name!), 'utf8')}base-commit: ${base}\n`)
    await repo.commit({'net/a.c': 'something else\n'})
    const {exit, said} = await importInto(await scratch(), [folder], {source: repo.folder, name: 'mine'})
    expect([exit, said.base]).toEqual([0, base])
  })

  it('and nothing is overwritten, or fetched for a name that is taken', async () => {
    const {repo, folder} = await linux()
    const cases = await scratch()
    await mkdir(join(cases, 'mine'))
    expect(await complaint(importInto(cases, [folder], {source: repo.folder, name: 'mine'}))).toMatch(/mine is there already, and nothing is overwritten: take another name by --name, or remove it$/)
    expect(await complaint(importInto(cases, ['/nowhere'], {name: 'mine'}))).toMatch(/is there already/)
  })
})

describe('what is no series is said in a sentence:', () => {
  it.each<[string, string[], RegExp]>([
    ['a range without a commit', ['main..main'], /'main\.\.main' has no commit in it/],
    ['a range the wrong way', ['work..main'], /has no commit in it .*: the tip comes last/],
    ['three dots', ['main...work'], /is no range of commits for a series/],
    ['an unknown branch', ['main..nowhere'], /nowhere is no commit in /],
    ['an option', ['--output=x..work'], /--output=x is no commit in /],
    ['two ranges', ['main..work', 'work'], /is imported from by one range/],
    ['a merge', ['main..merged'], /has the merge [0-9a-f]{12} in it/],
  ])('%s', async (_, words, sentence) => {
    const repo = await repository(TREE)
    await repo.git('checkout', '-q', '-b', 'work')
    await repo.commit(CHANGED)
    await repo.git('checkout', '-q', '-b', 'merged', 'main')
    await repo.commit({'net/b.c': 'other\n'})
    await repo.git('merge', '-q', '--no-edit', 'work')
    expect(await complaint(findSeries(signal, words, repo.folder))).toMatch(sentence)
  })

  it('a message id where b4 is not installed', async () => {
    const path = process.env.PATH
    const bin = await scratch()
    await symlink('/usr/bin/setpriv', join(bin, 'setpriv'))
    process.env.PATH = bin
    try {
      for (const id of ['20261010131842.1-1-a@example.org', '<a@example.org>', 'https://example.org/netdev/a@example.org/']) {
        expect(await complaint(findSeries(signal, [id], undefined))).toMatch(/^\S*a@example\.org is a message id, and b4, which fetches those, is not installed: 'apt-get install b4'/)
      }
    } finally {
      process.env.PATH = path
    }
  })

  it('a series of which a part is missing, which is said', async () => {
    const repo = await repository(TREE)
    const series = join(await repo.series([CHANGED, {'net/b.c': 'c\n'}]), '0002-change-2.patch')
    const {exit, said} = await importInto(await scratch(), [series], {source: repo.folder})
    expect({exit, notes: said.notes}).toEqual({exit: 0, notes: ['1/2 is missing from the series']})
  })

  it('a file that is not there', async () => {
    expect(await complaint(findSeries(signal, ['/nowhere/a.mbox'], undefined))).toMatch(/the series \/nowhere\/a\.mbox is not there/)
  })
})

describe('a mail', () => {
  it('loses what tells how it travelled, and nothing else', async () => {
    const patch = await readOne(mail('diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n', {header: 'Received: from a\n\tby b\nCc: one@example.org,\n two@example.org\nX-Spam: no\nMessage-ID: <a@b>\n'}))
    const plain = plainMail(patch).toString()
    const [head, ...body] = plain.split('\n\n')
    expect(head!.split('\n').map((line) => line.split(':')[0])).toEqual(['From 0123456789012345678901234567890123456789 Mon Sep 17 00', 'From', 'Date', 'Subject', 'Cc', ' two@example.org', 'Message-ID'])
    expect(body.join('\n\n')).toBe(patch.raw.toString().split('\n\n').slice(1).join('\n\n'))
    expect((await readOne(plain)).author).toBe(patch.author)
  })

  it('may state its base', async () => {
    const base = 'a'.repeat(40)
    const diff = 'diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n'
    expect(statedBase(await read(await fileWith(`${mail(diff)}base-commit: ${base}\n`)))).toBe(base)
    expect(statedBase(await read(await fileWith(mail(diff))))).toBeUndefined()
  })
})
