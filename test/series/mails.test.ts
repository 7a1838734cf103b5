import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {creation, fileWith, mail, numbered, read, readOne, repository} from '../support/repository.js'
import {scratch} from '../support/scratch.js'

const NEW = creation('new.c')

describe('a mail', () => {
  it('gives subject, title, author, body and diff', async () => {
    const patch = await readOne(mail(NEW, {subject: '[PATCH net-next v2 1/3] net: say why'}))
    expect(patch).toMatchObject({where: 'series.mbox', subject: '[PATCH net-next v2 1/3] net: say why', title: 'net: say why'})
    expect(patch).toMatchObject({author: 'Ann Author <ann@example.org>', body: 'Why.\n', encodedCr: false})
    expect(patch.files).toMatchObject([{kind: 'create', path: 'new.c', newMode: '100644', binary: false, hunks: [{lines: ['+text']}]}])
  })

  it('may have RFC 2047 names and subjects, folded', async () => {
    const from = '=?UTF-8?q?J=C3=B6rg?= =?UTF-8?q?_M=C3=BCller?= <j@example.org>'
    const patch = await readOne(mail(NEW, {from, subject: '[PATCH] =?UTF-8?b?w6TDtsO8?=\n a long one'}))
    expect(patch).toMatchObject({author: 'Jörg Müller <j@example.org>', title: 'äöü a long one'})
  })

  it('may be written in Latin-1', async () => {
    const text = mail(NEW, {header: 'Content-Type: text/plain; charset=ISO-8859-1\nContent-Transfer-Encoding: 8bit\n', body: 'für\n'})
    expect((await readOne(Buffer.from(text, 'latin1'))).body).toBe('für\n')
  })

  it('may come with CR LF', async () => {
    const patch = await readOne(mail(NEW).replaceAll('\n', '\r\n'))
    expect(patch.files).toMatchObject([{path: 'new.c', hunks: [{lines: ['+text']}]}])
    expect(patch.raw.includes('\r')).toBe(false)
  })

  it('keeps the CR of a file that has some', async () => {
    const patch = await readOne(mail(creation('dos.c', {content: 'one\r\ntwo\r\n'})))
    expect(patch.files[0]!.hunks[0]!.lines).toEqual(['+one\r', '+two\r'])
  })

  it.each<[string, string, (text: string) => string]>([
    ['quoted-printable', '\n', (text) => text.replaceAll('=', '=3D').replaceAll('diff', '=64iff').replaceAll('two', 'tw=\no')],
    ['base64', '\n', (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')],
    ['base64', '\r\n', (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')],
  ])('may have a %s body with its lines ended by %j', async (encoding, end, encode) => {
    const body = `Why ä = ö.\n---\n${creation('new.c', {content: 'a = b\ntwo\n'})}`.replaceAll('\n', end)
    const header = `MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: ${encoding}\n`
    const patch = await readOne(`From: Ann <ann@example.org>\nSubject: [PATCH] x\n${header}\n${encode(body)}\n`)
    expect(patch.body).toBe('Why ä = ö.\n')
    expect(patch.files[0]!.hunks[0]!.lines).toEqual(['+a = b', '+two'])
    expect(patch.encodedCr).toBe(end === '\r\n')
  })

  it('may have names with blanks, tabs and umlauts, renames and modes', async () => {
    const repo = await repository({'a b.c': numbered(20), 'ü.c': numbered(5), 'tab\t.c': numbered(5), 'mode.sh': 'x\n', 'old name.c': numbered(20)})
    await repo.git('config', 'core.fileMode', 'true')
    const folder = await repo.series([
      {'a b.c': numbered(20, {10: 'x'}), 'ü.c': numbered(5, {3: 'x'}), 'tab\t.c': null, 'old name.c': null, 'new name.c': numbered(20), 'empty.c': ''},
    ])
    const {patches} = await read(folder)
    expect(patches[0]!.files.map(({kind, oldPath, path}) => `${kind} ${oldPath} ${path}`).sort()).toEqual([
      'create empty.c empty.c',
      'delete tab\t.c tab\t.c',
      'modify a b.c a b.c',
      'modify ü.c ü.c',
      'rename old name.c new name.c',
    ])
  })

  it('may have a diff without "diff --git"', async () => {
    const patch = await readOne(mail('--- a/x.c\t2026-01-01\n+++ b/x.c\t2026-01-02\n@@ -1 +1 @@\n-one\n+two\n'.replace('a/x.c', 'a/x.c.orig')))
    expect(patch.files).toMatchObject([{kind: 'modify', oldPath: 'x.c', path: 'x.c', hunks: [{lines: ['-one', '+two']}]}])
  })

  it('may delete lines that look like a header', async () => {
    const diff = 'diff --git a/x.sql b/x.sql\n--- a/x.sql\n+++ b/x.sql\n@@ -1,3 +1,3 @@\n one\n--- a/comment\n+++ b/comment\n two\n'
    expect((await readOne(mail(diff))).files).toMatchObject([{path: 'x.sql', hunks: [{lines: [' one', '--- a/comment', '+++ b/comment', ' two']}]}])
  })
})

describe('a series', () => {
  it('is an mbox of several mails, in their order, the cover letter apart', async () => {
    const cover = 'From x Mon Sep 17 00:00:00 2001\nFrom: Ann <ann@example.org>\nSubject: [RFC PATCH v2 00/12] the idea\n\nFrom the start.\nFrom there on\n\n'
    const file = await fileWith(cover + mail(NEW, {subject: '[PATCH 1/2] one', body: 'From then on\n'}) + mail(creation('other.c'), {subject: '[PATCH 2/2] two'}))
    const {cover: apart, patches} = await read(file)
    expect(apart.map(({subject}) => subject)).toEqual(['[RFC PATCH v2 00/12] the idea'])
    expect(patches.map(({where, title}) => [where, title])).toEqual([
      ['series.mbox, mail 2', 'one'],
      ['series.mbox, mail 3', 'two'],
    ])
  })

  it('is a folder, by name, and files in the order in which they are named', async () => {
    const folder = await scratch()
    for (const name of ['0002-b.patch', '0001-a.patch', '0010-c.patch', 'README']) await writeFile(join(folder, name), mail(NEW, {subject: name}))
    await mkdir(join(folder, 'more.patches'))
    expect((await read(folder)).patches.map(({title}) => title)).toEqual(['0001-a.patch', '0002-b.patch', '0010-c.patch'])
    const both = await read(join(folder, '0010-c.patch'), join(folder, '0001-a.patch'))
    expect(both.patches.map(({where}) => where)).toEqual(['0010-c.patch', '0001-a.patch'])
  })

  it('is read alike in a repository whose settings are odd', async () => {
    const repo = await repository({x: 'x\n'})
    await repo.git('config', 'mailinfo.scissors', 'true')
    const file = join(repo.folder, 's.mbox')
    await writeFile(file, mail(NEW, {body: 'Before.\n-- >8 --\nAfter.\n'}))
    const before = process.env.TMPDIR
    process.env.TMPDIR = repo.folder
    const {patches} = await read(file).finally(() => (before === undefined ? delete process.env.TMPDIR : (process.env.TMPDIR = before)))
    expect(patches[0]!.body).toContain('Before.')
    expect(patches[0]!.paths).toEqual(['new.c'])
    expect(await readFile(join(repo.folder, '.git/HEAD'), 'utf8')).toBe('ref: refs/heads/main\n')
  })
})
