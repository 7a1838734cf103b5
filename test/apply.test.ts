import {execa} from 'execa'
import {chmod, mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {beforeAll, describe, expect, it} from 'vitest'
import {projectPath} from '../src/lib/project.js'
import {build} from './support/build.js'
import {creation, fileWith, mail, numbered, type Repository, repository} from './support/repository.js'
import {scratch, until} from './support/scratch.js'
import {LINUX, tarballOf} from './support/tarball.js'

beforeAll(build)

function start(args: string[], cache: string, env: Record<string, string> = {}) {
  const own = {HOME: cache, PATCHBENCH_CACHE: cache, NO_COLOR: '1', ...env}
  return execa(process.execPath, [projectPath('bin/patchbench'), 'apply', ...args], {reject: false, stdin: 'ignore', env: own})
}

async function apply(args: string[]): Promise<{stdout: string; stderr: string; exitCode?: number | undefined}> {
  return await start(args, await scratch())
}

async function two(): Promise<{repo: Repository; folder: string}> {
  const repo = await repository({'a.c': numbered(40), 'b.c': numbered(40)})
  return {repo, folder: await repo.series([{'a.c': numbered(40, {20: 'changed'})}, {'b.c': numbered(40, {20: 'changed'})}], {titles: ['one', 'two']})}
}

/** A git on the PATH that hangs in `git am`, once it has said so. */
async function hangingGit(folder: string, place: 'am' | 'worktree add'): Promise<{PATH: string; started: string}> {
  const bin = join(folder, 'bin')
  const started = join(folder, 'started')
  await mkdir(bin)
  const real = (await execa('sh', ['-c', 'command -v git'])).stdout
  const script = `#!/bin/sh\ncase " $* " in *" ${place} "*)\n`
  const hang = place === 'am' ? `touch '${started}'; exec sleep 60` : `'${real}' "$@"; touch '${started}'; exec sleep 60`
  await writeFile(join(bin, 'git'), `${script}${hang};;\nesac\nexec '${real}' "$@"\n`)
  await chmod(join(bin, 'git'), 0o755)
  return {PATH: `${bin}:${process.env.PATH}`, started}
}

const there = async (path: string) => await readFile(path).then(
  () => true,
  () => false,
)

describe('patchbench apply', () => {
  it('prints what fits and the tree, exit 0', async () => {
    const {repo, folder} = await two()
    await repo.commit({'a.c': `one more\n${numbered(40)}`})
    const {stdout, exitCode} = await apply([folder, '--git', repo.folder])
    expect(exitCode).toBe(0)
    expect(stdout.replace(/[\da-f]{40}/g, 'HASH').replace(/[\da-f]{12}/, 'HASH').replaceAll(repo.folder, 'DIR').split('\n')).toEqual([
      ...['on HASH of DIR', '1/2  applies: one  (0001-one.patch)', '       a.c:', '         hunk at line 17 fits 1 line further down'],
      ...['2/2  applies: two  (0002-two.patch)', '       b.c: fits', '', 'applied: tree HASH, commit HASH'],
    ])
  })

  it('prints what does not fit and where it may belong, exit 1', async () => {
    const {repo, folder} = await two()
    await repo.commit({'a.c': numbered(40, {20: 'something else'}), 'b.c': null})
    const before = await repo.state()
    const {stdout, exitCode} = await apply([folder, '--git', repo.folder])
    expect(exitCode).toBe(1)
    expect(stdout).toContain('1/2  does not apply: one')
    expect(stdout).toContain('hunk at line 17 fits nowhere; the nearest place is line 17:\n           - the patch expects  + the file has\n            line 17\n')
    expect(stdout).toContain('           -line 20\n           +something else\n')
    expect(stdout).toContain('b.c: is not in the tree, and no rename of it was found')
    expect(stdout).toMatch(/does not apply: patch 1 of 2 does not; the tree is as it was$/)
    expect(await repo.state()).toEqual(before)
  })

  it('says that whitespace or line ends are all that differs, and where', async () => {
    const code = 'f\n{\n\tint a;\n\ta = 1;\n\tg(a);\n\th(a);\n\treturn a;\n}\n'
    const repo = await repository({'a.c': code})
    const folder = await repo.series([{'a.c': code.replace('g(a)', 'g(a, a)')}], {titles: ['one']})
    const patch = join(folder, '0001-one.patch')
    const text = await readFile(patch, 'utf8')
    await writeFile(patch, text.replace(/^([ +-])\t/gm, '$1        '))
    const blanks = await apply([folder, '--git', repo.folder])
    expect(blanks.exitCode).toBe(1)
    expect(blanks.stdout).toContain("hunk at line 2 would fit at line 2 but for whitespace:\n           - the patch expects  + the file has, shown as by 'cat -A'\n            {$\n           -        int a;$\n           +^Iint a;$\n")
    expect(blanks.stdout).toMatch(/does not apply: .*\nwhitespace is in the way: take the patch from 'git format-patch'/)
    await writeFile(patch, text.replace(/^([ +-]\t.*)$/gm, '$1\r'))
    const ends = await apply([folder, '--git', repo.folder])
    expect(ends.stdout).toContain('hunk at line 2 would fit at line 2 but for line ends: the patch has CR LF, the file has LF\n')
    expect(ends.stdout).toContain('git: no three-way merge: the patch does not fit the version that it says it was made from, so it was changed after that')
  })

  it('has one word for what is in the tree already, and does not call it applied', async () => {
    const {repo, folder} = await two()
    await repo.commit({'a.c': numbered(40, {20: 'changed'})})
    const some = (await apply([folder, '--git', repo.folder])).stdout
    expect(some).toContain('1/2  is in the tree already: one  (0001-one.patch)\n       a.c: is in the tree already\n         hunk at line 17 is in the tree already\n')
    expect(some).toMatch(/\napplied, but for 1 of 2, which is in the tree already: tree /)
    await repo.commit({'b.c': numbered(40, {20: 'changed'})})
    const all = await apply([folder, '--git', repo.folder, '--in-place'])
    expect(all.stdout).toMatch(/\nnothing was applied on main, all of it is in the tree already: tree /)
    expect(all.exitCode).toBe(0)
  })

  it('prints one JSON document with --json, alike for both', async () => {
    const {repo, folder} = await two()
    const good = JSON.parse((await apply([folder, '--git', repo.folder, '--json'])).stdout) as Record<string, unknown>
    const base = await repo.git('rev-parse', 'HEAD')
    const hunks = [{line: 17, state: 'exact', offset: 0, nearest: null, difference: null, differs: null}]
    expect(good).toEqual({
      ...{schema: 1, applied: true, where: repo.folder, origin: {git: base}, base, tree: expect.stringMatching(/^[\da-f]{40}$/), commit: expect.stringMatching(/^[\da-f]{40}$/), branch: null, cover: [], notes: []},
      patches: ['one', 'two'].map((subject, index) => ({
        ...{where: `000${index + 1}-${subject}.patch`, subject, author: 'Ann Author <ann@example.org>', state: 'applied', git: []},
        files: [{path: `${'ab'[index]}.c`, state: 'exact', renamedTo: null, hunks}],
        mergedInto: [],
      })),
    })
    await repo.commit({'a.c': 'something else\n'})
    const {stdout, exitCode} = await apply([folder, '--git', repo.folder, '--json'])
    expect(exitCode).toBe(1)
    const bad = JSON.parse(stdout) as Record<string, unknown>
    expect(bad).toMatchObject({schema: 1, applied: false, tree: null, commit: null, patches: [{state: 'conflict'}, {state: 'not-tried'}]})
    expect(Object.keys(bad)).toEqual(Object.keys(good))
  })

  it('refuses bad input with one sentence, exit 2, before git changes anything', async () => {
    const {repo, folder} = await two()
    const before = await repo.state()
    const hostile = await fileWith(mail(creation('../x'), {subject: '[PATCH] \u001b[2Jclear'}))
    for (const [args, sentence] of [
      [[hostile, '--git', repo.folder], /series\.mbox: \.\.\/x leads outside the tree/],
      [[folder], /no tree is named: add --git <folder>, or --source/],
      [[folder, '--git', repo.folder, '--source', '6.12'], /--git and --source name a tree each: leave one of them out/],
      [[folder, '--source', '6.12', '--in-place'], /--in-place works on a branch of yours: name its tree by --git/],
      [[folder, '--source', '6.12.117'], /'6\.12\.117' is no kernel line: give one like 6\.12/],
      [[folder, '--source', repo.folder], /is no tree of linux: it has no Makefile at its top/],
      [[folder, '--source', 'ext::sh -c x'], /is no address that is fetched from/],
      [[folder, '--git', '/none'], /--git \/none is not a folder/],
      [[folder, '--git', repo.folder, '--base', 'none'], /--base none is no commit/],
      [['nosuchcase'], /the series nosuchcase is not there/],
      [['', '--git', repo.folder], /the name of the series is empty/],
      [[folder, '--git', ''], /--git is empty: name the folder of a git tree/],
      [['/none', '--git', repo.folder], /the series \/none is not there/],
    ] as const) {
      const {stdout, stderr, exitCode} = await apply([...args])
      expect({stdout, exitCode}, stderr).toEqual({stdout: '', exitCode: 2})
      expect(stderr).toMatch(sentence)
      expect(stderr).not.toMatch(/^\s+at |a bug in/m)
    }
    expect(await repo.state()).toEqual(before)
  })

  it('shows nothing of a patch that a terminal would obey', async () => {
    const repo = await repository({'a.c': 'x\n'})
    const {stdout, stderr} = await apply([await fileWith(mail(creation('n.c'), {subject: '[PATCH] \u001b[2Jclear'})), '--git', repo.folder])
    expect(stdout).toContain('clear')
    expect(stdout + stderr).not.toContain('\u001b')
  })

  it('puts the mails of a series in order and names those that are missing, in both forms', async () => {
    const repo = await repository({'a.c': numbered(40)})
    const folder = await repo.series([1, 2, 3].map((last) => ({'a.c': numbered(40, Object.fromEntries([1, 2, 3].filter((one) => one <= last).map((one) => [one * 10, 'changed'])))})))
    const [first, second, third] = [1, 2, 3].map((number) => join(folder, `000${number}-change-${number}.patch`)) as [string, string, string]
    const turned = await apply([third, first, second, '--git', repo.folder])
    expect(turned.exitCode).toBe(0)
    expect(turned.stdout).toMatch(/^on .*\nnote: the patches came as 3\/3, 1\/3, 2\/3: they were put in the order of their numbers\n1\/3  applies: change 1 /)
    const some = await apply([third, first, '--git', repo.folder, '--json'])
    expect(JSON.parse(some.stdout)).toMatchObject({notes: ['the patches came as 3/3, 1/3: they were put in the order of their numbers', '2/3 is missing from the series']})
  })

  it('in place moves the branch', async () => {
    const {repo, folder} = await two()
    const {stdout, exitCode} = await apply([folder, '--git', repo.folder, '--in-place'])
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`applied on main: tree ${await repo.git('rev-parse', 'main^{tree}')}, commit ${await repo.git('rev-parse', 'main')}`)
    expect(await repo.git('status', '--porcelain')).toBe('')
  })

  it('takes a tarball, a URL or a folder for --source, and names the tree', async () => {
    const repo = await repository(LINUX)
    const folder = await repo.series([{Kbuild: 'changed\n'}], {titles: ['one']})
    for (const source of [await tarballOf(repo.folder), `file://${repo.folder}`, repo.folder]) {
      const {stdout, stderr, exitCode} = await apply([folder, '--source', source])
      expect(exitCode, stderr).toBe(0)
      expect(stdout).toMatch(/^on [\da-f]{12} of linux 6\.12\.7\n1\/1  applies: one  \(0001-one\.patch\)\n       Kbuild: fits\n\napplied: tree /)
    }
  })

  it('takes a firewall4 for --source where that is said, at --base', async () => {
    const repo = await repository({'root/usr/share/firewall4/main.uc': 'x\n'})
    const folder = await repo.series([{'root/usr/share/firewall4/main.uc': 'y\n'}])
    await repo.git('tag', 'fits')
    await repo.commit({'root/usr/share/firewall4/main.uc': 'z\n'})
    expect((await apply([folder, '--source', `file://${repo.folder}`, '--tree', 'firewall4'])).exitCode).toBe(1)
    expect((await apply([folder, '--source', `file://${repo.folder}`, '--tree', 'firewall4', '--base', 'fits'])).exitCode).toBe(0)
  })

  it("takes a case of firewall4 by its name to a clone of one's own", async () => {
    const repo = await repository({'root/usr/share/firewall4/main.uc': 'x\n'})
    const {stdout, stderr, exitCode} = await apply(['fw4-guard', '--candidate', 'revised', '--git', repo.folder])
    expect({exitCode, stderr}).toMatchObject({exitCode: 1, stderr: expect.not.stringContaining('patchbench: ')})
    expect(stdout).toContain('does not apply')
  })

  it('ends on Ctrl-C with nothing left behind, exit 130', async () => {
    const {repo, folder} = await two()
    const before = await repo.state()
    const cache = await scratch()
    const {PATH, started} = await hangingGit(await scratch(), 'am')
    const child = start([folder, '--git', repo.folder, '--in-place'], cache, {PATH})
    expect(await until(async () => await there(started), 20_000)).toBe(true)
    child.kill('SIGINT')
    expect((await child).exitCode).toBe(130)
    expect(await repo.state()).toEqual(before)
  })

  it.each(['am', 'worktree add'] as const)('killed in `git %s` leaves the tree usable, and the next run cleans up', async (place) => {
    const {repo, folder} = await two()
    const before = await repo.state()
    const cache = await scratch()
    const {PATH, started} = await hangingGit(await scratch(), place)
    const child = start([folder, '--git', repo.folder, '--in-place'], cache, {PATH})
    expect(await until(async () => await there(started), 20_000)).toBe(true)
    child.kill('SIGKILL')
    await child
    // A stale worktree is all that is left, and it is in nobody's way.
    expect(await repo.git('worktree', 'list', '--porcelain')).toContain(cache)
    const {worktrees: _, ...rest} = before as Record<string, unknown>
    expect(await repo.state()).toMatchObject(rest)
    await repo.git('commit', '-q', '--allow-empty', '-m', 'the user goes on')
    await repo.git('reset', '-q', '--soft', 'HEAD~1')
    if (place === 'worktree add') await repo.git('worktree', 'lock', await worktreeOf(repo, cache))
    const again = await start([folder, '--git', repo.folder], cache)
    expect(again.exitCode, again.stderr).toBe(0)
    expect(await repo.git('worktree', 'list', '--porcelain')).not.toContain(cache)
  })

  it('waits for another on the same tree', async () => {
    const {repo, folder} = await two()
    const cache = await scratch()
    const both = await Promise.all([start([folder, '--git', repo.folder], cache), start([folder, '--git', repo.folder], cache)])
    expect(both.map(({exitCode}) => exitCode)).toEqual([0, 0])
    expect(both[0].stdout).toBe(both[1].stdout)
  })
})

async function worktreeOf(repo: Repository, cache: string): Promise<string> {
  const list = await repo.git('worktree', 'list', '--porcelain')
  return list.split('\n').find((line) => line.startsWith(`worktree ${cache}`))!.slice('worktree '.length)
}
