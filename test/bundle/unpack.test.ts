import {mkdir, readdir, readFile, stat, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {LIMIT, type Manifest, MANIFEST, TOP} from '../../src/bundle/manifest.js'
import {packBundle} from '../../src/bundle/pack.js'
import {unpackBundle} from '../../src/bundle/unpack.js'
import {archiveOf, bundleOf, compressed, entriesOf, type TarEntry} from '../support/bundle.js'
import {complaint} from '../support/complaint.js'
import {contextIn, scratch} from '../support/scratch.js'

const FILES = {'README.md': 'read me\n', 'cases/one/case.yaml': 'schema: 1\n', 'reproduce.sh': '#!/bin/sh\n'}

/** Unpacks an archive in a folder within a folder, in which nothing else may appear. */
async function unpack(file: string) {
  const around = await scratch()
  const into = join(around, 'into')
  await mkdir(into)
  const context = contextIn(join(around, 'cache'))
  return {into, around, unpacking: unpackBundle(context, file, into)}
}

async function refusal(file: string): Promise<string> {
  const {around, unpacking} = await unpack(file)
  const words = await complaint(unpacking)
  expect(await readdir(around)).toEqual(['into'])
  return words.replace('the bundle is refused: ', '')
}

/** Why an archive with a good manifest is refused, when its entries were changed. */
async function refusedWith(change: (entries: TarEntry[]) => TarEntry[], manifest?: (manifest: Manifest) => unknown): Promise<string> {
  return await refusal(await archiveOf(change(entriesOf(bundleOf(FILES, manifest)))))
}

const file = (path: string, more: Partial<TarEntry> = {}): TarEntry => ({path: `${TOP}/${path}`, ...more})

describe('a bundle', () => {
  it('is unpacked as its manifest says', async () => {
    const {manifest, contents} = bundleOf(FILES, ({files}) => (files['reproduce.sh']!.executable = true))
    const archive = join(await scratch(), 'one.tar.zst')
    await packBundle(contextIn(await scratch()), contents.map((one) => ({...one, executable: one.path === 'reproduce.sh'})), manifest, archive)
    const {into, unpacking} = await unpack(archive)
    const unpacked = await unpacking
    expect(unpacked.manifest.run.cases[0]?.name).toBe('one')
    expect(unpacked.signed).toEqual({manifest: Buffer.from(manifest), signature: undefined})
    for (const [path, text] of Object.entries(FILES)) expect(await readFile(join(into, path), 'utf8')).toBe(text)
    expect((await stat(join(into, 'reproduce.sh'))).mode & 0o7777).toBe(0o755)
    expect((await stat(join(into, 'README.md'))).mode & 0o7777).toBe(0o644)
  })

  it('is taken from the folder where it was unpacked, and what is beside it there is not', async () => {
    const {into, unpacking} = await unpack(await archiveOf(entriesOf(bundleOf(FILES))))
    await unpacking
    await writeFile(join(into, 'beside'), 'x')
    const again = await unpack(into)
    await again.unpacking
    expect((await readdir(again.into)).sort()).toEqual(['README.md', 'cases', MANIFEST, 'reproduce.sh'])
  })

  it('with one changed byte is refused', async () => {
    const good = await archiveOf(entriesOf(bundleOf(FILES)))
    // In a file, in the manifest, and in the compressed archive.
    expect(await refusedWith((entries) => entries.map((one) => (one.path.endsWith('README.md') ? {...one, data: 'Read me\n'} : one)))).toBe('README.md is not what its manifest says: its SHA-256 is another one')
    expect(await refusedWith((entries) => entries.map((one) => (one.path.endsWith(MANIFEST) ? {...one, data: String(one.data).replace('"schema":1', '"schema":7')} : one)))).toContain('schema 7')
    const bytes = await readFile(good)
    for (const at of [1, 40, bytes.length >> 1, bytes.length - 3]) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1
      const place = join(await scratch(), 'changed.tar.zst')
      await writeFile(place, changed)
      expect(await refusal(place)).not.toBe('')
    }
  })

  it.each<[string, TarEntry, RegExp]>([
    ['a path that climbs out', {path: `${TOP}/../../out`, data: 'x'}, /a path that climbs out, patchbench-bundle\/\.\.\/\.\.\/out/],
    ['a path beside its folder', {path: 'other/out', data: 'x'}, /other\/out is not in patchbench-bundle/],
    ['an absolute path', {path: '/tmp/patchbench-out', data: 'x'}, /an absolute path, \/tmp\/patchbench-out/],
    ['a link', file('link', {type: 'SymbolicLink', linkpath: '/etc/passwd'}), /link is no plain file \(SymbolicLink to \/etc\/passwd\)/],
    ['a link in the place of a file', file('README.md', {type: 'SymbolicLink', linkpath: '../x'}), /no plain file \(SymbolicLink/],
    ['a hard link', file('link', {type: 'Link', linkpath: '/etc/passwd'}), /no plain file \(Link/],
    ['a device', file('null', {type: 'CharacterDevice'}), /no plain file \(CharacterDevice/],
    ['a pipe', file('pipe', {type: 'FIFO'}), /no plain file \(FIFO/],
    ['a folder', file('folder/', {type: 'Directory'}), /that is none of a bundle's|no plain file/],
    ['a file that the manifest does not name', file('more', {data: 'x'}), /more is not in its manifest/],
    ['a name of an object\'s own', file('constructor', {data: 'x'}), /constructor is not in its manifest/],
    ['a file twice', file('README.md', {data: 'read me\n'}), /README\.md is in it twice/],
    ['an escape sequence in a path', file('a\u001b[2Jb', {data: 'x'}), /a path that is none of a bundle's/],
  ])('with %s is refused', async (_, entry, words) => {
    const before = entry.path === `${TOP}/README.md` && entry.type === undefined ? 1 : 0
    expect(await refusedWith(([manifest, readme, ...rest]) => (before ? [manifest!, readme!, entry, ...rest] : [manifest!, entry, readme!, ...rest]))).toMatch(words)
  })

  it.each([0o4755, 0o2755, 0o1777])('with the mode %o is refused', async (mode) => {
    expect(await refusedWith((entries) => entries.map((one) => (one.path.endsWith('reproduce.sh') ? {...one, mode} : one)))).toContain('reproduce.sh has set-uid, set-gid or sticky bits')
  })

  it('without a manifest at its beginning is refused', async () => {
    expect(await refusedWith(([, ...rest]) => rest)).toContain('does not begin with patchbench-bundle/manifest.json')
    expect(await refusedWith(([manifest, ...rest]) => [...rest, manifest!])).toContain('does not begin with')
  })

  it('with less than its manifest says is refused', async () => {
    expect(await refusedWith((entries) => entries.slice(0, -1))).toBe('reproduce.sh is in its manifest and not in it')
    expect(await refusedWith((entries) => entries.slice(0, 1).concat(entries.slice(1).map((one) => ({...one, data: ''}))))).toMatch(/has 0 bytes, and the manifest says/)
  })

  it('that is none is refused', async () => {
    for (const data of ['', 'no archive at all\n'.repeat(100)]) {
      const place = join(await scratch(), 'x.tar.zst')
      await writeFile(place, data)
      expect(await refusal(place)).toMatch(/no archive of a bundle|no manifest/)
    }
    expect(await refusal(await compressed(Buffer.alloc(4096)))).toContain('does not begin with')
  })

  it('that is compressed once more inside is refused', async () => {
    const inner = await readFile(await archiveOf(entriesOf(bundleOf(FILES))))
    expect(await refusal(await compressed(inner))).toContain('does not begin with')
  })

  it('that unpacks to more than it may is left there', async () => {
    // 128 MiB of zeros behind a good beginning are some kilobytes.
    const [manifest] = entriesOf(bundleOf(FILES))
    const entries = [manifest!, file('README.md', {data: 'read me\n'}), file('cases/one/case.yaml', {data: Buffer.alloc(128 << 20), size: 128 << 20})]
    const archive = await archiveOf(entries)
    expect((await stat(archive)).size).toBeLessThan(1 << 20)
    expect(await refusal(archive)).toBe('cases/one/case.yaml has 134217728 bytes, and the manifest says 10')
  })

  it('whose stream does not end is left', async () => {
    const head = Buffer.alloc(LIMIT.bytes + (60 << 20))
    head.write(`${TOP}/${MANIFEST}`)
    const words = await refusal(await compressed(head))
    expect(words).toMatch(/unpacks to more than \d+ bytes|no archive of a bundle/)
  })

  it('with a manifest that promises too much is refused before its files', async () => {
    const many = (count: number) => (manifest: Manifest) => {
      manifest.files = Object.fromEntries(Array.from({length: count}, (_, index) => [`f${index}`, {sha256: '0'.repeat(64), size: 1}]))
    }
    expect(await refusedWith((entries) => entries, many(LIMIT.files + 1))).toContain(`${LIMIT.files} are the most`)
    const large = ({files}: Manifest) => Array.from({length: 5}, (_, index) => (files[`f${index}`] = {sha256: '0'.repeat(64), size: LIMIT.file}))
    expect(await refusedWith((entries) => entries, large)).toContain(`${LIMIT.bytes} are the most`)
    expect(await refusedWith((entries) => entries, ({files}) => (files.huge = {sha256: '0'.repeat(64), size: LIMIT.file + 1}))).toContain('files.huge.size')
  })

  it.each<[string, (manifest: Manifest) => unknown, RegExp]>([
    ['of a newer schema', (manifest) => Object.assign(manifest, {schema: 2}), /schema 2, and this patchbench reads 1/],
    ['with a key that we do not know', (manifest) => Object.assign(manifest, {more: 1}), /not as the schema says/],
    ['without results', (manifest) => (manifest.results = []), /results: expected at least one/],
    ['that runs a case that it does not describe', (manifest) => (manifest.run = {...manifest.run, cases: []}), /does not describe it/],
    ['that names a path outside', (manifest) => (manifest.files['../out'] = {sha256: '0'.repeat(64), size: 1}), /climbs out, \.\.\/out/],
    ['that names an absolute path', (manifest) => (manifest.files['/out'] = {sha256: '0'.repeat(64), size: 1}), /absolute path, \/out/],
    ['that names a file and a folder of one name', (manifest) => (manifest.files['README.md/x'] = {sha256: '0'.repeat(64), size: 1}), /names README\.md, which is something else/],
    ['that names itself', (manifest) => (manifest.files[MANIFEST] = {sha256: '0'.repeat(64), size: 1}), /something else already/],
    ['with a case of an odd name', (manifest) => (manifest.run = {...manifest.run, cases: [{...manifest.run.cases[0]!, name: '../x'}]}), /run\.cases\.0\.name/],
  ])('with a manifest %s is refused', async (_, change, words) => {
    expect(await refusedWith((entries) => entries, change)).toMatch(words)
  })

  it('is refused in a folder as it is in an archive', async () => {
    const {into, unpacking} = await unpack(await archiveOf(entriesOf(bundleOf({...FILES, other: 'x'}))))
    await unpacking
    await writeFile(join(into, 'README.md'), 'Read me\n')
    expect(await refusal(into)).toContain('README.md is not what its manifest says')
    const linked = await unpack(await archiveOf(entriesOf(bundleOf({one: '', two: ''}))))
    await linked.unpacking
    const copy = await scratch()
    for (const name of [MANIFEST, 'two']) await writeFile(join(copy, name), await readFile(join(linked.into, name)))
    await symlink('two', join(copy, 'one'))
    expect(await refusal(copy)).toContain('one is no plain file (SymbolicLink)')
  })
})
