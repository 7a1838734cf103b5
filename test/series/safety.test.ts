import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {InputError} from '../../src/lib/errors.js'
import {checkLinks} from '../../src/series/links.js'
import {isGitFolder} from '../../src/series/safety.js'
import {creation, fileWith, mail, read, readOne} from '../support/repository.js'
import {scratch} from '../support/scratch.js'
import {complaint} from '../support/complaint.js'

const refused = async (diff: string, where = /^series\.mbox: /) => {
  const message = await complaint(read(await fileWith(mail(diff))))
  expect(message).toMatch(where)
  return message
}

const MODIFY = (path: string) => `diff --git a/${path} b/${path}\nindex 111..222 100644\n--- a/${path}\n+++ b/${path}\n@@ -1 +1 @@\n-one\n+two\n`

describe('refused, whatever the tree:', () => {
  it.each<[string, string, RegExp]>([
    ['an absolute path', creation('/etc/passwd'), /\/etc\/passwd lies outside the tree, it is an absolute path/],
    ['an absolute path without git header', '--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-one\n+two\n', /\/etc\/passwd lies outside the tree, it is an absolute path/],
    ['..', creation('../x'), /\.\.\/x leads outside the tree by '\.\.'/],
    ['.. in the middle', creation('net/../../x'), /leads outside the tree by '\.\.'/],
    ['.. in quotes', MODIFY('x').replaceAll(/([ab])\/x/g, '"$1/..\\057x"'), /\.\.\/x leads outside the tree/],
    ['a rename from outside', 'diff --git a/x b/y\nsimilarity index 100%\nrename from ../x\nrename to y\n', /\.\.\/x leads outside the tree/],
    ['.git', creation('.git/hooks/post-checkout'), /\.git\/hooks\/post-checkout lies in \.git/],
    ['.GIT further down', creation('sub/.GIT/config'), /sub\/\.GIT\/config lies in \.git/],
    ['a binary patch', 'diff --git a/x.bin b/x.bin\nnew file mode 100644\nindex 0000000..1111111\nGIT binary patch\nliteral 1\nIcmZP0001Z0\n\nliteral 0\nHcmV?d00001\n\n', /x\.bin is changed by a binary patch/],
    ['a binary difference', 'diff --git a/x.bin b/x.bin\nindex 1111111..2222222 100644\nBinary files a/x.bin and b/x.bin differ\n', /x\.bin is changed by a binary patch/],
    ['a submodule', creation('sub', {mode: '160000', content: 'Subproject commit 0123456789012345678901234567890123456789\n'}), /sub changes a submodule/],
    ['.gitmodules', creation('.gitmodules'), /\.gitmodules changes a submodule/],
    ['a hunk that is too short', MODIFY('x').replace('@@ -1 +1 @@', '@@ -1,5 +1,5 @@'), /its diff is damaged/],
    ['a name that git reads otherwise', '--- a/x.c\n+++ b/x.c.new\n@@ -1 +1 @@\n-one\n+two\n', /its diff is damaged \(git reads x\.c where it says x\.c\.new\)/],
    ['a header without a name', 'diff --git a/x y b/z\nold mode 100644\nnew mode 100755\n', /its diff is damaged/],
  ])('%s', async (_, diff, sentence) => expect(await refused(diff)).toMatch(sentence))

  it('a mail without a diff, with its number', async () => {
    const reply = 'From x Mon Sep 17 00:00:00 2001\nFrom: Rae <rae@example.org>\nSubject: Re: [PATCH] a change\n\n> diff --git a/x b/x\nNice.\n\n'
    expect(await complaint(read(await fileWith(mail(creation('x')) + reply)))).toBe(
      "series.mbox, mail 2: the mail 'Re: [PATCH] a change' has no diff: leave it out, only a cover letter '[PATCH 0/N]' may be without one",
    )
  })

  it('a mail without an author', async () => {
    expect(await complaint(read(await fileWith(`Subject: [PATCH] x\n\nWhy.\n---\n${creation('x')}`)))).toMatch(/^series\.mbox: the mail has no author/)
  })

  const NO_SERIES = 'a series is an mbox, a folder of patches or patch files'
  const BARE = "is a diff without a mail around it, so it has no author and no message: commit it and take the mail from 'git format-patch -1'"
  it.each<[string, string | Buffer, string]>([
    ['a diff alone', creation('x'), BARE],
    ['a diff of diff -u', '--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-one\n+two\n', BARE],
    ['a text', 'Dear reader,\n\nsee below.\n', `is neither a mail nor a diff: ${NO_SERIES}`],
    ['bytes', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 10, 0xff]), `is no text: ${NO_SERIES}`],
    ['an archive', Buffer.from([0x1f, 0x8b, 8, 0, 1]), "is compressed: 'gunzip' it first"],
    ['nothing', ' \n', 'is empty: save the mails of the series to it, or leave it out'],
  ])('%s that is no mail', async (_, content, sentence) => {
    expect(await complaint(read(await fileWith(content, 'one.patch')))).toBe(`one.patch ${sentence}`)
  })

  it('a mail that goes wrong as a sentence of its own, the second of two', async () => {
    expect(await complaint(read(await fileWith(mail(creation('x')) + mail(creation('../y')))))).toMatch(/^series\.mbox, mail 2: \.\.\/y leads/)
  })

  it('a series of a cover letter alone, of nothing, of no file', async () => {
    const cover = 'From: Ann <ann@example.org>\nSubject: [PATCH 0/3] idea\n\nText.\n'
    expect(await complaint(read(await fileWith(cover)))).toMatch(/^the series .*series\.mbox is empty: no mail in it has a diff$/)
    const folder = await scratch()
    expect(await complaint(read(folder))).toMatch(/is a folder without patches/)
    expect(await complaint(read(join(folder, 'none')))).toMatch(/is not there: name an mbox/)
    expect(await complaint(read('/dev/null'))).toMatch(/is neither a file nor a folder/)
  })
})

/** Whether a series with these diffs, a mail each, is safe on a tree. */
async function links(diffs: readonly string[], modes: Record<string, string> = {}): Promise<string> {
  const {patches} = await read(await fileWith(diffs.map((diff) => mail(diff)).join('')))
  try {
    checkLinks(patches, new Map(Object.entries(modes)))
    return 'safe'
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as Error).message
  }
}

const link = (path: string, target: string) => creation(path, {mode: '120000', content: target})
const removal = (path: string, target: string) =>
  `diff --git a/${path} b/${path}\ndeleted file mode 120000\nindex 111..000\n--- a/${path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-${target}\n\\ No newline at end of file\n`

describe('symbolic links', () => {
  it.each<[string, string[], Record<string, string>, RegExp]>([
    ['in the tree', [creation('doc/x')], {doc: '120000'}, /^series\.mbox: doc\/x lies behind doc, a symbolic link in the tree/],
    ['of the series', [link('doc', 'net'), creation('doc/x')], {}, /mail 2: doc\/x lies behind doc, a symbolic link that the series itself makes/],
    ['of the same patch', [creation('doc/a/x') + link('doc/a', 'net')], {}, /doc\/a\/x lies behind doc\/a, a symbolic link that the series itself makes/],
    ['to an absolute path', [link('x', '/etc')], {}, /x would be a symbolic link that points outside the tree, to \/etc/],
    ['that climb too far', [link('a/x', '../../b')], {}, /points outside the tree, to \.\.\/\.\.\/b/],
    ['that climb behind a name', [link('x', 'a/b/../../c')], {}, /points outside the tree/],
    ['into .git', [link('x', '.git/hooks')], {}, /x would be a symbolic link into \.git/],
    ['turned elsewhere', [MODIFY('x').replace('100644', '120000').replace('+two', '+/etc')], {x: '120000'}, /points outside the tree, to \/etc/],
    ['turned elsewhere without a mode', [MODIFY('x').replace(' 100644', '').replace('+two', '+/etc')], {x: '120000'}, /points outside the tree, to \/etc/],
  ])('%s are refused', async (_, diffs, modes, sentence) => expect(await links(diffs, modes)).toMatch(sentence))

  it.each<[string, string[], Record<string, string>]>([
    ['within the tree', [link('a/x', '../b/c')], {}],
    ['that are gone by then', [removal('doc', 'net'), creation('doc/x')], {doc: '120000'}],
    ['that the patch replaces by a folder', [removal('doc', 'net') + creation('doc/x')], {doc: '120000'}],
    ['beside the path', [creation('docs/x')], {doc: '120000'}],
    ['that are deleted', [removal('x', '/etc')], {x: '120000'}],
  ])('%s are fine', async (_, diffs, modes) => expect(await links(diffs, modes)).toBe('safe'))

  it('and submodules of the tree are not written into', async () => {
    expect(await links([MODIFY('sub/x')], {sub: '160000'})).toMatch(/sub\/x changes the submodule sub/)
    expect(await links([MODIFY('sub').replace(' 100644', '')], {sub: '160000'})).toMatch(/sub changes the submodule sub/)
  })
})

it.each([
  ['.git', true],
  ['.Git', true],
  ['.git ', true],
  ['.git. .', true],
  ['GIT~1', true],
  ['.g\u200cit', true],
  ['.git::$INDEX_ALLOCATION', true],
  ['.gitignore', false],
  ['git', false],
  ['x.git', false],
])('%j is .git to some file system: %s', (name, is) => expect(isGitFolder(name)).toBe(is))

it('a series without a name is none', async () => {
  expect(await complaint(read(''))).toContain('the name of the series is empty')
})

describe('the complaint about a damaged diff', () => {
  const broken = (name: string) => mail(`diff --git a/${name} b/${name}\n--- a/${name}\n+++ b/${name}\n@@ -1,2 +1,2 @@\n one\nbroken\n-two\n+three\n`)
  const lineOf = (text: string) => text.split('\n').indexOf('broken') + 1

  it("names the line of the user's file", async () => {
    const one = broken('x.c')
    expect(await complaint(readOne(one))).toContain(`series.mbox: its diff is damaged (corrupt patch at line ${lineOf(one)})`)
    const both = mail(creation('n.c')) + one
    expect(await complaint(readOne(both))).toContain(`series.mbox, mail 2: its diff is damaged (corrupt patch at line ${lineOf(both)})`)
    expect(await complaint(readOne(both.replaceAll('\n', '\r\n')))).toContain(`corrupt patch at line ${lineOf(both)})`)
  })

  it('names none where the mail has the diff in another form', async () => {
    const [head, ...rest] = broken('x.c').split('\n\n')
    const encoded = Buffer.from(rest.join('\n\n')).toString('base64').replace(/.{76}/g, '$&\n')
    const said = await complaint(readOne(`${head}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: base64\n\n${encoded}\n`))
    expect(said).toContain('its diff is damaged (corrupt patch)')
  })

  it('says that the mail ends too early', async () => {
    const text = mail('diff --git a/x.c b/x.c\n--- a/x.c\n+++ b/x.c\n@@ -1,5 +1,5 @@ f\n one\n-two\n+three\n four\n five\n six\n')
    for (const end of ['+three\n', ' four\n']) {
      const cut = text.slice(0, text.indexOf(end) + end.length - 1)
      const said = "series.mbox: the mail ends in the middle of the hunk '@@ -1,5 +1,5 @@ f': it was cut off"
      expect(await complaint(readOne(cut))).toContain(said)
      expect(await complaint(readOne(`${cut}\n`))).toContain(said)
    }
  })
})
