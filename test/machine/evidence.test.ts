import {lstat, mkdir, readdir, readFile, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {create, Header, type HeaderData} from 'tar'
import {describe, expect, it} from 'vitest'
import {readEvidence} from '../../src/machine/evidence.js'
import {scratch} from '../support/scratch.js'

/** A tar archive by hand, of entries that no tar program would write. */
function archive(...entries: (HeaderData & {body?: string})[]): Buffer {
  const blocks = entries.flatMap(({body = '', ...data}) => {
    const block = Buffer.alloc(512)
    new Header({mode: 0o644, type: 'File', size: body.length, ...data}).encode(block)
    const padded = Buffer.alloc(Math.ceil(body.length / 512) * 512)
    padded.write(body)
    return [block, padded]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

function sent(tar: Buffer, announced: unknown = tar.length): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({size: announced})}\n`), tar])
}

/** What there is under a folder, links not followed. */
async function tree(folder: string): Promise<string[]> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true})
  return entries.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort()
}

/** A folder to unpack into, beside one that nothing may come into. */
async function place(): Promise<{outer: string; into: string}> {
  const outer = await scratch()
  const into = join(outer, 'into')
  await mkdir(into)
  return {outer, into}
}

async function unpack(...parts: Buffer[]): Promise<{outer: string; into: string; error?: Error}> {
  const where = await place()
  try {
    await readEvidence(Readable.from(parts), where.into)
    return where
  } catch (error) {
    return {...where, error: error as Error}
  }
}

describe('evidence', () => {
  it('of an honest guest is unpacked', async () => {
    const source = await scratch()
    await mkdir(join(source, 'base'))
    await writeFile(join(source, 'base/ktap'), 'ok 1 one\n')
    await writeFile(join(source, 'base/large'), Buffer.alloc(300_000, 'x'))
    const chunks: Buffer[] = []
    for await (const chunk of create({cwd: source}, ['.'])) chunks.push(chunk as Buffer)
    const {into, error} = await unpack(sent(Buffer.concat(chunks)))
    expect(error).toBeUndefined()
    expect(await readFile(join(into, 'base/ktap'), 'utf8')).toBe('ok 1 one\n')
    expect((await lstat(join(into, 'base/large'))).size).toBe(300_000)
  })

  it('may come in pieces of any size, and more may follow', async () => {
    const bytes = Buffer.concat([sent(archive({path: 'ktap', body: 'ok 1 one\n'})), Buffer.from('{"size": 5}\nabcde')])
    const pieces = Array.from({length: Math.ceil(bytes.length / 7)}, (_, index) => bytes.subarray(index * 7, index * 7 + 7))
    const {into, error} = await unpack(...pieces)
    expect(error).toBeUndefined()
    expect(await readFile(join(into, 'ktap'), 'utf8')).toBe('ok 1 one\n')
    expect(await tree(into)).toEqual(['ktap'])
  })
})

describe('a hostile guest', () => {
  it.each(['../escaped', 'a/../../escaped', './../escaped', 'a/b/../../../escaped'])('cannot leave the folder by %s', async (path) => {
    const {outer, into, error} = await unpack(sent(archive({path, body: 'x'})))
    expect((await tree(outer)).filter((one) => one.includes('escaped'))).toEqual([])
    expect(error?.message ?? '').toContain('..')
    expect(await tree(into)).toEqual([])
  })

  it('cannot write to an absolute path', async () => {
    const target = join(await scratch(), 'absolute')
    const {error} = await unpack(sent(archive({path: target, body: 'x'})))
    await expect(lstat(target)).rejects.toThrow('ENOENT')
    expect(error?.message).toContain('absolute path')
  })

  it('cannot send a link, nor write through one', async () => {
    const target = await scratch()
    const {into} = await unpack(
      sent(
        archive(
          {path: 'way', type: 'SymbolicLink', linkpath: target},
          {path: 'way/out', body: 'x'},
          {path: 'passwd', type: 'Link', linkpath: '/etc/passwd'},
          {path: 'good', body: 'ok'},
        ),
      ),
    )
    expect(await tree(target)).toEqual([])
    for (const name of await tree(into)) expect((await lstat(join(into, name))).isSymbolicLink()).toBe(false)
    expect(await tree(into)).not.toContain('passwd')
    expect(await readFile(join(into, 'good'), 'utf8')).toBe('ok')
  })

  it('cannot write through a link that is there already', async () => {
    const target = await scratch()
    const {into} = await place()
    await symlink(target, join(into, 'way'))
    await readEvidence(Readable.from([sent(archive({path: 'way/out', body: 'x'}))]), into).catch(() => {})
    expect(await tree(target)).toEqual([])
  })

  it.each(['CharacterDevice', 'BlockDevice', 'FIFO'] as const)('cannot send a %s', async (type) => {
    const {into} = await unpack(sent(archive({path: 'device', type, devmaj: 1, devmin: 3}, {path: 'good', body: 'ok'})))
    expect(await tree(into)).toEqual(['good'])
  })

  it('cannot make a file that is run as somebody else', async () => {
    const {into} = await unpack(sent(archive({path: 'tool', mode: 0o6755, uid: 12345, gid: 12345, body: 'x'})))
    const {mode, uid} = await lstat(join(into, 'tool'))
    expect(mode & 0o6000).toBe(0)
    expect(uid).toBe(process.getuid?.())
  })

  it('cannot fill a folder with files without end', async () => {
    const {into, error} = await unpack(sent(archive(...Array.from({length: 10_500}, (_, index) => ({path: `d/${index}`})))))
    expect((await tree(into)).length).toBeLessThanOrEqual(10_001)
    expect(error?.message).toBe('the guest sent 10500 files of evidence, and 10000 are the most')
  })

  it.each([[2 ** 40], [-1], [null], ['5'], [{}]])('is told when it announces %j bytes', async (size) => {
    const {into, error} = await unpack(sent(archive({path: 'ktap', body: 'x'}), size))
    expect(error?.message).toMatch(/^the guest announced \d+ bytes of evidence, and \d+ are the most$|^what the guest sent is no evidence/)
    expect(await tree(into)).toEqual([])
  })

  it('is told when it sends less than it announced', async () => {
    const tar = archive({path: 'ktap', body: 'x'})
    expect((await unpack(sent(tar, tar.length + 100))).error?.message).toBe("the guest's evidence ended 100 bytes early")
    expect((await unpack(sent(tar).subarray(0, -600))).error?.message).toBe("the guest's evidence ended 600 bytes early")
  })

  it('is told when it announces less than the archive has', async () => {
    const {error} = await unpack(sent(archive({path: 'ktap', body: 'x'.repeat(2000)}), 1000))
    expect(error).toBeInstanceOf(Error)
  })

  it('is told when a file says that it is larger than the archive', async () => {
    const {error} = await unpack(sent(archive({path: 'ktap', size: 5_000_000, body: 'x'})))
    expect(error).toBeInstanceOf(Error)
  })

  it('is told when the archive is none', async () => {
    const {into, error} = await unpack(sent(Buffer.alloc(2048, 'x')))
    expect(error).toBeInstanceOf(Error)
    expect(await tree(into)).toEqual([])
  })

  it.each([['nothing', []], ['half a header', ['{"size']]])('that sends %s sent no evidence', async (_, parts) => {
    const {error} = await unpack(...parts.map((part) => Buffer.from(part)))
    expect(error?.message).toBe('the guest sent no evidence')
  })

  it.each([
    ['without end', 'x'.repeat(5000)],
    ['no JSON', 'hello\n'],
    ['null', 'null\n'],
  ])('whose header is %s sends nothing that is kept', async (_, text) => {
    const {into, error} = await unpack(Buffer.from(text), Buffer.alloc(1024))
    expect(error).toBeInstanceOf(Error)
    expect(await tree(into)).toEqual([])
  })

  it.each([
    ['without end', 'x'.repeat(5000)],
    ['no JSON', 'hello\n'],
    ['null', 'null\n'],
  ])('whose header is %s is told so in a sentence about evidence', async (_, text) => {
    const {error} = await unpack(Buffer.from(text), Buffer.alloc(1024))
    expect(error?.message).toMatch(/the guest .*evidence/)
  })
})
