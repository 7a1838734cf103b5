import {execa} from 'execa'
import {chmod, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {CouldNotRun} from '../../src/lib/errors.js'
import {applySeries} from '../../src/tree/apply.js'
import {checkOut, type Source, sourceTree, type WantedSource} from '../../src/tree/source.js'
import {complaint} from '../support/complaint.js'
import {read, repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {folderOf, LINUX, tarballOf} from '../support/tarball.js'

const LONG = Boolean(process.env.PATCHBENCH_LONG)

const signal = new AbortController().signal

async function linux(from: string, more: Partial<WantedSource> = {}, context = contextIn('/nowhere')): Promise<Source> {
  return await sourceTree(context, {tree: 'linux', from, ...more})
}

async function gitIn(source: Source, ...args: string[]): Promise<string> {
  return (await execa('git', ['-C', source.directory, ...args])).stdout
}

/** Every file of the cache's artefacts. */
async function sealed(cache: string): Promise<Record<string, string>> {
  const entries = await readdir(join(cache, 'source'), {recursive: true, withFileTypes: true})
  const paths = entries.filter((entry) => entry.isFile()).map(({parentPath, name}) => join(parentPath, name))
  return Object.fromEntries(await Promise.all(paths.sort().map(async (path) => [path, await readFile(path, 'base64')])))
}

describe('a git folder', () => {
  it('is used where it is, at its checked-out commit', async () => {
    const repo = await repository(LINUX)
    const head = await repo.git('rev-parse', 'HEAD')
    const before = await repo.state()
    expect(await linux(repo.folder)).toEqual({
      ...{tree: 'linux', label: 'linux 6.12.7', version: '6.12.7', line: '6.12', directory: repo.folder, commit: head},
      ...{treeHash: await repo.git('rev-parse', 'HEAD^{tree}'), origin: {git: head}},
    })
    expect(await repo.state()).toEqual(before)
  })

  it('may be asked for another commit, which is one of it', async () => {
    const repo = await repository(LINUX)
    const first = await repo.git('rev-parse', 'HEAD')
    await repo.commit({Makefile: LINUX.Makefile.replace('EXTRAVERSION =', 'EXTRAVERSION = -rc1')})
    expect(await linux(repo.folder)).toMatchObject({version: '6.12.7-rc1'})
    expect(await linux(repo.folder, {base: 'HEAD~1'})).toMatchObject({version: '6.12.7', commit: first})
    expect(await complaint(linux(repo.folder, {base: 'v9'}))).toMatch(/^--base v9 is no commit in /)
  })

  it('is used without what is not committed, and that is said', async () => {
    const repo = await repository(LINUX)
    const context = contextIn('/nowhere')
    await repo.write({untracked: 'mine\n'})
    await linux(repo.folder, {}, context)
    expect(context.said).toEqual([])
    await repo.write({Makefile: LINUX.Makefile.replace('12', '13')})
    expect(await linux(repo.folder, {}, context)).toMatchObject({version: '6.12.7'})
    expect(context.said).toEqual([`${repo.folder} has changes that are not committed: they are not part of what is used`])
  })

  it.each([
    [{'a.c': 'x\n'}, /^--source .* is no tree of linux: it has no Makefile at its top$/],
    [{Makefile: 'all:\n', Kbuild: ''}, /is no tree of linux: its Makefile has no VERSION, PATCHLEVEL and SUBLEVEL$/],
    [{Makefile: LINUX.Makefile.replace('EXTRAVERSION =', 'EXTRAVERSION = /../x'), Kbuild: ''}, undefined],
  ])('%#: is refused where it is no tree of linux', async (files, sentence) => {
    const repo = await repository(files)
    if (sentence) expect(await complaint(linux(repo.folder))).toMatch(sentence)
    else expect(await linux(repo.folder)).toMatchObject({version: '6.12.7'})
  })

  it('is named by the option that named it', async () => {
    const {folder} = await repository({'a.c': 'x\n'})
    expect(await complaint(sourceTree(contextIn('/nowhere'), {tree: 'linux', from: folder, option: '--git'}))).toMatch(/^--git .* is no tree of linux: it has no Makefile at its top$/)
  })

  it('of firewall4 is told by its description', async () => {
    const repo = await repository({'root/usr/share/firewall4/main.uc': 'x\n'})
    const head = await repo.git('rev-parse', 'HEAD')
    expect(await sourceTree(contextIn('/nowhere'), {tree: 'firewall4', from: repo.folder})).toMatchObject({label: `firewall4 ${head.slice(0, 12)}`, line: ''})
    await repo.git('tag', '-a', '-m', 'x', '2026-01')
    expect(await sourceTree(contextIn('/nowhere'), {tree: 'firewall4', from: repo.folder})).toMatchObject({version: '2026-01'})
    expect(await complaint(linux(repo.folder))).toMatch(/is no tree of linux/)
    const other = await repository(LINUX)
    expect(await complaint(sourceTree(contextIn('/nowhere'), {tree: 'firewall4', from: other.folder}))).toMatch(/is no tree of firewall4: it has no root\/usr\/share\/firewall4 at its top$/)
  })
})

describe('a tarball', () => {
  /** Files that git would like to leave out or to change. */
  async function awkward(): Promise<string> {
    const folder = await folderOf({
      ...LINUX,
      '.gitattributes': '* text=auto eol=crlf\n*.c ident\n*.bin filter=lfs\n*.u working-tree-encoding=UTF-16\n',
      ...{'.gitignore': '*.o\n', 'kept.o': 'object\n', 'dos.txt': 'a\r\nb\r\n', 'unix.txt': 'a\nb\n', 'a.c': '/* $Id: 1 $ */\n'},
      ...{'x.u': 'plain\n', 'x.bin': Buffer.from([0, 13, 10, 255]), empty: '', 'scripts/run': '#!/bin/sh\n', 'sub/.gitignore': '*\n', 'sub/f': 'x\n'},
    })
    await chmod(join(folder, 'scripts/run'), 0o755)
    await symlink('unix.txt', join(folder, 'link'))
    return folder
  }

  it('is a tree of exactly its files', async () => {
    const [folder, context] = [await awkward(), contextIn(await scratch())]
    const source = await linux(await tarballOf(folder), {}, context)
    expect(source).toMatchObject({label: 'linux 6.12.7', line: '6.12', origin: {tarball: expect.stringMatching(/^sha256:[\da-f]{64}$/)}})
    const modes = new Map((await gitIn(source, 'ls-tree', '-r', source.commit)).split('\n').map((line) => [line.split('\t')[1], line.slice(0, 6)]))
    expect([...modes.keys()].sort()).toEqual([...['.gitattributes', '.gitignore', 'Kbuild', 'Makefile', 'a.c', 'dos.txt', 'empty', 'kept.o', 'link'], ...['scripts/run', 'sub/.gitignore', 'sub/f', 'unix.txt', 'x.bin', 'x.u']])
    expect([modes.get('scripts/run'), modes.get('link'), modes.get('a.c')]).toEqual(['100755', '120000', '100644'])
    const into = await scratch()
    await checkOut(signal, source.directory, source.commit, into)
    await execa('diff', ['--recursive', '--no-dereference', folder, into])
    expect((await stat(join(into, 'scripts/run'))).mode & 0o111).not.toBe(0)
    expect(await readlink(join(into, 'link'))).toBe('unix.txt')
  })

  it('is the same commit everywhere, whatever is around it', async () => {
    const folder = await folderOf(LINUX)
    const tarball = await tarballOf(folder)
    const [one, other] = [await linux(tarball, {}, contextIn(await scratch())), await linux(tarball, {}, contextIn(await scratch()))]
    expect(one.commit).toBe(other.commit)
    expect(await gitIn(one, 'log', '--format=%an <%ae> %at %cn <%ce> %ct %P')).toBe('patchbench <patchbench@localhost> 0 patchbench <patchbench@localhost> 0 ')
    const wrapped = await folderOf(Object.fromEntries(Object.entries(LINUX).map(([path, text]) => [`linux-6.12/${path}`, text])))
    expect((await linux(await tarballOf(wrapped), {}, contextIn(await scratch()))).treeHash).toBe(one.treeHash)
  })

  it.each(['linux.tar', 'linux.tar.xz', 'linux.tar.zst', 'linux.tgz', 'with:colon.tar.gz', '-v.tar'])('may be a %s', async (name) => {
    expect(await linux(await tarballOf(await folderOf(LINUX), name), {}, contextIn(await scratch()))).toMatchObject({version: '6.12.7'})
  })

  it('may be named from its own folder', async () => {
    const tarball = await tarballOf(await folderOf(LINUX), 'with:colon.tar')
    const before = process.cwd()
    process.chdir(dirname(tarball))
    try {
      expect(await linux('with:colon.tar', {}, contextIn(await scratch()))).toMatchObject({version: '6.12.7'})
    } finally {
      process.chdir(before)
    }
  })

  it('is one pack, and made once', async () => {
    const [tarball, context] = [await tarballOf(await awkward()), contextIn(await scratch())]
    const first = await linux(tarball, {}, context)
    const said = context.said.length
    expect(await linux(tarball, {}, context)).toEqual(first)
    expect(context.said).toHaveLength(said)
    const names = (await readdir(join(context.cache, 'source'), {recursive: true})).map((path) => path.split('/').slice(1).join('/'))
    expect(names.filter((path) => /objects\/[\da-f]{2}\//.test(path))).toEqual([])
    expect(names.filter((path) => path.startsWith('files'))).toEqual([])
    expect(names.filter((path) => path.endsWith('.pack')).length).toBeLessThanOrEqual(2)
  })

  it('that is none, or none of linux, is refused', async () => {
    const cache = await scratch()
    const folder = await folderOf({'a.c': 'x\n', 'broken.tar.gz': 'no tarball', 'notes.txt': 'x\n'})
    expect(await complaint(linux(await tarballOf(folder), {}, contextIn(cache)))).toMatch(/is no tree of linux: it has no Makefile at its top$/)
    expect(await complaint(linux(await tarballOf(await scratch()), {}, contextIn(cache)))).toMatch(/is no tree of linux/)
    expect(await complaint(linux(join(folder, 'broken.tar.gz'), {}, contextIn(cache)))).toMatch(/^--source .*broken\.tar\.gz is no tarball that tar can read \(.+\)$/)
    expect(await complaint(linux(join(folder, 'notes.txt'), {}, contextIn(cache)))).toMatch(/notes\.txt is a file, and no \.tar/)
    expect(await complaint(linux(await tarballOf(await folderOf(LINUX)), {base: 'v1'}, contextIn(cache)))).toMatch(/^--base v1: a tarball has no history/)
    expect((await readdir(join(cache, 'source'))).filter((name) => name.endsWith('.partial'))).toEqual([])
  })

  it('takes a series, and its artefact stays as it was made', async () => {
    const context = contextIn(await scratch())
    const tarball = await tarballOf(await folderOf(LINUX))
    const source = await linux(tarball, {}, context)
    const before = await sealed(context.cache)
    const repo = await repository(LINUX)
    // The second patch takes back the first, so that git writes what the artefact has already.
    const series = await repo.series([{Kbuild: 'changed\n', 'new.c': 'x\n'}, {Kbuild: LINUX.Kbuild}])
    const applied = await applySeries(context, await read(series), {git: source.directory, base: source.commit})
    expect(applied).toMatchObject({applied: true, base: source.commit})
    expect(await gitIn(source, 'show', `${applied.commit}:new.c`)).toBe('x')
    expect(await sealed(context.cache)).toEqual(before)
    // What was applied is there still when the source is asked for again.
    expect(await linux(tarball, {}, context)).toEqual(source)
    expect(await gitIn(source, 'show', `${applied.commit}:Kbuild`)).toBe(LINUX.Kbuild.trim())
  })

  it('is made anew where its artefact or its repository was damaged', async () => {
    const [tarball, context] = [await tarballOf(await folderOf(LINUX)), contextIn(await scratch())]
    const first = await linux(tarball, {}, context)
    await rm(join(context.cache, 'source'), {recursive: true})
    expect(await linux(tarball, {}, context)).toEqual(first)
    await writeFile(join(first.directory, 'refs/heads/pristine'), '')
    expect(await linux(tarball, {}, context)).toEqual(first)
    await rm(join(first.directory, 'objects/info/alternates'))
    expect(await linux(tarball, {}, context)).toEqual(first)
    expect(await gitIn(first, 'show', 'HEAD:Kbuild')).toBe(LINUX.Kbuild.trim())
  })
})

describe('a URL', () => {
  it('is fetched once, without history, at a branch, a tag or a hash', async () => {
    const repo = await repository(LINUX)
    const first = await repo.git('rev-parse', 'HEAD')
    await repo.git('tag', '-a', '-m', 'x', 'v6.12.7')
    const second = await repo.commit({Makefile: LINUX.Makefile.replace('= 7', '= 8')})
    await repo.git('config', 'uploadpack.allowAnySHA1InWant', 'true')
    const [url, context] = [`file://${repo.folder}`, contextIn(await scratch())]
    const newest = await linux(url, {}, context)
    expect(newest).toMatchObject({version: '6.12.8', commit: second, origin: {git: second, url}})
    expect(await gitIn(newest, 'rev-list', '--count', second)).toBe('1')
    expect(await linux(url, {base: 'v6.12.7'}, context)).toMatchObject({version: '6.12.7', commit: first, directory: newest.directory})
    expect(await linux(url, {base: first}, context)).toMatchObject({commit: first})
    expect(await linux(url, {base: 'main'}, context)).toMatchObject({commit: second})
    expect(context.said).toEqual(['HEAD', 'v6.12.7', first, 'main'].map((revision) => `fetching ${revision} from ${url}`))
    expect(await complaint(linux(url, {base: 'none'}, context))).toMatch(/^--base none is not in file:.*: name a branch, a tag or a full hash that is there$/)
    expect(await complaint(linux(url, {base: 'HEAD~1'}, context))).toMatch(/^--base HEAD~1 is not fetched from a URL: name a branch/)
  })

  it('is kept until a refresh, and takes a series', async () => {
    const repo = await repository(LINUX)
    const [url, context] = [`file://${repo.folder}`, contextIn(await scratch())]
    const first = await linux(url, {}, context)
    const series = await repo.series([{Kbuild: 'changed\n'}])
    const second = await repo.commit({Makefile: LINUX.Makefile.replace('= 7', '= 8')})
    expect(await linux(url, {}, context)).toEqual(first)
    expect((await linux(url, {refresh: true}, context)).commit).toBe(second)
    expect(await applySeries(context, await read(series), {git: first.directory, base: first.commit})).toMatchObject({applied: true})
  })

  it('is fetched anew after a fetch that was killed', async () => {
    const repo = await repository(LINUX)
    const [url, context] = [`file://${repo.folder}`, contextIn(await scratch())]
    const {directory} = await linux(url, {}, context)
    await writeFile(join(directory, 'shallow.lock'), '')
    const [ref] = await readdir(join(directory, 'refs/patchbench'))
    await writeFile(join(directory, `refs/patchbench/${ref}.lock`), '')
    await mkdir(join(directory, 'objects/pack'), {recursive: true})
    await writeFile(join(directory, 'objects/pack/tmp_pack_x'), 'half')
    const second = await repo.commit({Makefile: LINUX.Makefile.replace('= 7', '= 8')})
    expect((await linux(url, {refresh: true}, context)).commit).toBe(second)
    expect(await readdir(join(directory, 'objects/pack'))).not.toContain('tmp_pack_x')
  })

  it('that cannot be fetched from could not run, and shows no password', async () => {
    const [one, two] = [`file://${await scratch()}/none.git`, 'http://ann:secret@127.0.0.1:1/linux.git']
    for (const [url, shown] of [[one, one], [two, 'http://ann@127.0.0.1:1/linux.git']] as const) {
      const context = contextIn(await scratch())
      const error: unknown = await linux(url, {}, context).catch((error: unknown) => error)
      expect(error).toBeInstanceOf(CouldNotRun)
      expect((error as CouldNotRun).message).toBe(`${shown} could not be fetched from: a local clone can be named instead`)
      expect(`${(error as CouldNotRun).detail} ${context.said.join(' ')}`).not.toContain('secret')
    }
  })

  it.each(['ext::sh -c touch% /tmp/x', 'ext://x', 'fd::3', 'ftp://host/x', 'ssh://-oProxyCommand=x/y', 'https:/one', 'host:path', 'file:// /x'])('%s is refused', async (url) => {
    const cache = await scratch()
    expect(await complaint(linux(url, {}, contextIn(cache)))).toMatch(/^--source .* is no address that is fetched from: it begins with https:\/\/, /)
    expect(await readdir(cache)).toEqual([])
  })

  it.each(['-u/x', '--upload-pack=x', '6.12.x', 'none'])('%s is none', async (from) => {
    expect(await complaint(linux(from))).toMatch(/ is not there: name a kernel line like 6\.12, a git folder, a URL or a tarball$/)
  })
})

describe('the files of a commit', () => {
  it('are written without settings, hooks or filters of the repository, which stays as it is', async () => {
    const repo = await repository({'a.c': 'x\ny\n', '.gitattributes': '*.c text eol=crlf filter=shout\n', 'sub/b': 'b\n'})
    const touched = join(await scratch(), 'touched')
    await repo.git('config', 'filter.shout.smudge', `touch ${touched}; cat`)
    await repo.git('config', 'core.autocrlf', 'true')
    await mkdir(join(repo.folder, '.git/hooks'), {recursive: true})
    await writeFile(join(repo.folder, '.git/hooks/post-checkout'), `#!/bin/sh\ntouch ${touched}\n`, {mode: 0o755})
    const before = await repo.state()
    const into = await scratch()
    await checkOut(signal, repo.folder, 'HEAD', into)
    expect((await readdir(into)).sort()).toEqual(['.gitattributes', 'a.c', 'sub'])
    expect(await readFile(join(into, 'a.c'), 'utf8')).toBe('x\ny\n')
    expect(await readdir(join(touched, '..'))).toEqual([])
    expect(await repo.state()).toEqual(before)
  })

  it('are those of the commit from a worktree too', async () => {
    const repo = await repository({'a.c': 'old\n'})
    await repo.commit({'a.c': 'new\n'})
    const [worktree, into] = [join(await scratch(), 'tree'), await scratch()]
    await repo.git('worktree', 'add', '-q', worktree)
    await checkOut(signal, worktree, 'HEAD~1', into)
    expect(await readFile(join(into, 'a.c'), 'utf8')).toBe('old\n')
  })
})

describe("the distribution's source", () => {
  it.each([
    [{tree: 'firewall4', line: '6.12'}, /^the distribution has no source of firewall4: name a clone/],
    [{tree: 'linux'}, /^no source is named/],
    [{tree: 'linux', line: '6.12.117'}, /^'6\.12\.117' is no kernel line: give one like 6\.12$/],
    [{tree: 'linux', line: '6.12', base: 'v6.12'}, /^--base v6\.12: the distribution's source of 6\.12 has no history/],
  ] as const)('%j is refused', async (wanted, sentence) => {
    expect(await complaint(sourceTree(contextIn('/nowhere'), wanted))).toMatch(sentence)
  })

  it.runIf(LONG)('is that of a line, and other lines are named', {timeout: 600_000}, async () => {
    const context = contextIn(await scratch())
    const source = await sourceTree(context, {tree: 'linux', line: '6.12'})
    expect(source).toMatchObject({line: '6.12', version: expect.stringMatching(/^6\.12\.\d+$/), origin: {'linux-source-6.12': expect.stringMatching(/^6\.12\.\S+ sha256:[\da-f]{64}$/)}})
    expect(await gitIn(source, 'log', '--format=%s')).toMatch(/^linux 6\.12\./)
    expect(await complaint(sourceTree(context, {tree: 'linux', line: '9.9'}))).toMatch(/^the archive has no source of linux 9\.9: it has .*6\.12.*; a clone/)
  })
})
