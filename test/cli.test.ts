import {execa} from 'execa'
import {spawnSync} from 'node:child_process'
import {existsSync} from 'node:fs'
import {chmod, mkdir, open, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {beforeAll, describe, expect, it} from 'vitest'
import {projectPath} from '../src/lib/project.js'
import {build} from './support/build.js'
import {numbered, repository} from './support/repository.js'
import {alive, scratch, until} from './support/scratch.js'
import {LINUX} from './support/tarball.js'

const RULESETS = projectPath('test/fixtures/rulesets')

type Options = {env?: Record<string, string>; cwd?: string}

beforeAll(build)

/** Starts the real program, with a cache and a home of its own and an apt that has no network. */
async function start(args: string[], {env = {}, cwd}: Options = {}) {
  const home = await scratch()
  const bin = join(home, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'apt-get'), env.APT ?? `#!/bin/sh\necho "$@" >>${home}/apt-calls\necho 'E: no network' >&2\nexit 100\n`)
  await chmod(join(bin, 'apt-get'), 0o755)
  const own = {HOME: home, PATCHBENCH_CACHE: join(home, 'cache'), PATH: `${bin}:${process.env.PATH}`, NO_COLOR: '1'}
  const child = execa(process.execPath, [projectPath('bin/patchbench'), ...args], {
    reject: false,
    stdin: 'ignore',
    env: {...own, ...env},
    ...(cwd === undefined ? {} : {cwd}),
  })
  return {child, home}
}

async function patchbench(args: string[], options?: Options) {
  const {child, home} = await start(args, options)
  const {stdout, stderr, exitCode} = await child
  const apt = (await readFile(join(home, 'apt-calls'), 'utf8').catch(() => '')).split('\n').filter(Boolean)
  return {stdout, stderr, exitCode, apt}
}

/** Bad usage or input: exit 2, nothing on standard output, a sentence without a stack, no machine or archive touched. */
async function refused(args: string[], options?: Options): Promise<string> {
  const {stdout, stderr, exitCode, apt} = await patchbench(args, options)
  expect({exitCode, stdout, apt}, stderr).toEqual({exitCode: 2, stdout: '', apt: []})
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(stderr).not.toMatch(/a bug in patchbench|node:internal/)
  // Commander adds hints in brackets: what may have been meant, and where help is.
  const lines = stderr.split('\n').filter((line) => !/^(\(.*\))?$/.test(line.trim()))
  expect(lines).toHaveLength(1)
  return lines[0]!
}

const GOOD = `schema: 1
title: a packet is lost
tree: linux
kernels: ['6.12']
reproducer:
  program: reproduce.py
  parameters:
    queries: 50
symptoms:
  - name: one-copy
    about: one copy on the wire
`

async function casesWith(text: string): Promise<string> {
  const folder = await scratch()
  await mkdir(join(folder, 'one'))
  await writeFile(join(folder, 'one/case.yaml'), text)
  await writeFile(join(folder, 'one/reproduce.py'), '')
  return folder
}

describe('bad usage is exit 2 and one sentence:', () => {
  it.each<[string, string[], RegExp]>([
    ['an unknown command', ['comprae'], /unknown command 'comprae'/],
    ['an unknown option', ['compare', '--repeats', '2'], /unknown option '--repeats'/],
    ['a missing argument', ['shell'], /missing required argument 'case'/],
    ['--repeat 0', ['compare', '--repeat', '0'], /'--repeat <n>' argument '0' is invalid\. a whole number from 1 to 1000/],
    ['--repeat many', ['compare', '--repeat', 'many'], /'--repeat <n>' argument 'many' is invalid\. a whole number/],
    ['--variant nonsense', ['compare', '--variant', 'nonsense'], /'nonsense' is none of base, livepatched, reverted/],
    ['--variant with one of two wrong', ['compare', '--variant', 'base,fixed'], /'fixed' is none of base, livepatched, reverted/],
    ['--variant with an empty word', ['compare', '--variant', 'base,'], /'' is none of base, livepatched, reverted, patched/],
    ['shell --variant nonsense', ['shell', 'ipmr-loopback', '--variant', 'nonsense'], /argument 'nonsense' is invalid\. Allowed choices are base, livepatched, reverted, patched/],
    ['--debug nonsense', ['compare', '--debug', 'nonsense'], /'--debug <list>' argument 'nonsense' is invalid\. 'nonsense' is none of kasan, lockdep, kmemleak\./],
    ['--debug with one of two wrong', ['build', 'kernel', 'ipmr-loopback', '--debug', 'kasan,ubsan'], /'ubsan' is none of kasan, lockdep, kmemleak/],
    ['--accel xen', ['compare', '--accel', 'xen'], /argument 'xen' is invalid\. Allowed choices are auto, kvm, tcg/],
    ['an unknown case', ['compare', 'ipmr'], /^patchbench: there is no case 'ipmr'; there are .*ipmr-loopback.* \(see 'patchbench cases'\)$/],
    ['--set without a value', ['compare', 'ipmr-loopback', '--set', 'queries'], /^patchbench: --set queries: write NAME=VALUE$/],
    ['--kernel with a file and no modules', ['compare', 'ipmr-loopback', '--kernel', '/etc/hostname'], /^patchbench: --kernel \/etc\/hostname is a file: its modules are needed too/],
    ['--source with --kernel', ['compare', 'ipmr-loopback', '--source', '/nowhere', '--kernel', '6.12'], /^patchbench: --source is a kernel of its own: leave --kernel out$/],
    ['--base without --source', ['build', 'kernel', 'ipmr-loopback', '--base', 'v6.12'], /^patchbench: --base is a revision of --source, which is missing$/],
    ['build kernel of an unknown case', ['build', 'kernel', 'ipmr'], /^patchbench: there is no case 'ipmr'; there are /],
    ['build ruleset of a case that has none', ['build', 'ruleset', 'vrf-lookup'], /^patchbench: the case 'vrf-lookup' is about the tree linux and has no rulesets$/],
    ['build ruleset of an unknown candidate', ['build', 'ruleset', 'ports', '--candidate', 'nosuch', '--cases', RULESETS], /has no candidate 'nosuch'; it has opened, another-port, all-ports$/],
    ['build kernel of a ruleset', ['build', 'kernel', 'ports', '--candidate', 'opened', '--cases', RULESETS], /^patchbench: the candidates of ports are no kernel patches: see 'patchbench build ruleset'$/],
    ['apply of a ruleset', ['apply', 'ports', '--candidate', 'opened', '--cases', RULESETS], /^patchbench: candidate opened is a ruleset and no series$/],
    ['kernel patches of a case that has rulesets', ['compare', 'ports', '--variant', 'patched', '--cases', RULESETS], /^patchbench: ports has no candidate that is a kernel patch, only base$/],
    ['rulesets of a case that has none', ['compare', 'vrf-lookup', '--variant', 'ruleset'], /^patchbench: vrf-lookup has no candidate that is a ruleset, only base$/],
    ['build kernel of an unknown candidate', ['build', 'kernel', 'ipmr-loopback', '--candidate', 'nosuch'], /^patchbench: the case 'ipmr-loopback' has no candidate 'nosuch'; it has .*local-input/],
    ['build kernel commit by commit of an unknown candidate', ['build', 'kernel', 'ipmr-loopback', '--per-commit', '--candidate', 'nosuch'], /has no candidate 'nosuch'/],
    ['build kernel of an image', ['build', 'kernel', 'ipmr-loopback', '--kernel', '/etc/hostname'], /^patchbench: --kernel \/etc\/hostname is an image: a kernel is built from a line, like 6\.12, or from --source$/],
    ['--candidate that no case has, before another', ['compare', 'ipmr-loopback', '--candidate', 'nosuch', '--candidate', 'local-input'], /^patchbench: --candidate nosuch: there is none of that name/],
    ['--candidate that no case has', ['compare', 'ipmr-loopback', '--candidate', 'nosuch'], /^patchbench: --candidate nosuch: there is none of that name; there are .*local-input/],
    ['import of nothing there', ['import', '/nowhere/a.mbox'], /^patchbench: the series \/nowhere\/a\.mbox is not there/],
    ['import under a name that is none', ['import', '/nowhere/a.mbox', '--name', 'My Fix'], /^patchbench: 'My Fix' is no name for a case/],
    ['import of a range from no git tree', ['import', 'a..b', '--git', '/etc'], /^patchbench: --git \/etc is not a git tree that can be used/],
    ['a new case under a name that is none', ['case', 'new', '../x'], /^patchbench: '\.\.\/x' is no name for a case: take small letters, digits and hyphens$/],
    ['a new case for a kernel that is no line', ['case', 'new', 'mine', '--kernel', '6.12.117'], /^patchbench: --kernel 6\.12\.117: a case is for kernel lines, like 6\.12$/],
    ['edit of an unknown case', ['edit', 'ipmr'], /^patchbench: there is no case 'ipmr'/],
    ['edit for a line without a series', ['edit', 'ipmr-loopback', '--kernel', '5.10'], /^patchbench: --kernel 5\.10: the candidate has no series for it, only for /],
    ['edit --base without --git', ['edit', 'ipmr-loopback', '--base', 'v6.12'], /^patchbench: --base v6\.12 is a revision of --git, which is missing$/],
    ['commit where nobody edits', ['commit', 'vrf-lookup'], /^patchbench: nobody edits 'vrf-lookup': 'patchbench edit vrf-lookup' checks its series out at /],
    ['watch of an unknown case', ['watch', 'ipmr'], /^patchbench: there is no case 'ipmr'/],
    ['watch of an unknown variant', ['watch', 'ipmr-loopback', '--variant', 'nonsense'], /'nonsense' is none of base, livepatched/],
    ['router without a host', ['router', 'mitigate'], /required option '--host <host>' not specified/],
    ['a host that ssh would take for an option', ['router', 'rollback', '--host=-oProxyCommand=reboot'], /^patchbench: '-oProxyCommand=reboot' is no host: write it as for ssh/],
    ['--mask 0', ['router', 'mitigate', '--host', 'r', '--mask', '0'], /'--mask <bits>' argument '0' is invalid\. bits from 0x1 to 0xffffffff are needed/],
    ['--mask of 33 bits', ['router', 'mitigate', '--host', 'r', '--mask', '0x1ffffffff'], /bits from 0x1 to 0xffffffff are needed/],
    ['--capture for ever', ['router', 'collect', '--host', 'r', '--capture', '601'], /'--capture <seconds>' argument '601' is invalid/],
    ['--interface with a shell word', ['router', 'collect', '--host', 'r', '--interface', 'wan;reboot'], /^patchbench: --interface: 'wan;reboot' is no name of a network device$/],
    ['livepatch without a host', ['livepatch', 'load', 'vrf-lookup'], /required option '--host <list>' not specified/],
    ['livepatch of a case that has none', ['livepatch', 'status', 'ports', '--host', 'h', '--cases', RULESETS], /^patchbench: the case 'ports' has no livepatch$/],
    ['livepatch on a host that ssh would take for an option', ['livepatch', 'status', '--host=lab1,-oProxyCommand=reboot'], /^patchbench: '-oProxyCommand=reboot' is no host: write it as for ssh/],
    ['a time that is none', ['livepatch', 'load', 'vrf-lookup', '--host', 'h', '--revert-after', 'soon'], /'--revert-after <time>' argument 'soon' is invalid\. a time from 1s to 24h is needed/],
    ['a trial that is shorter than the load', ['livepatch', 'load', 'vrf-lookup', '--host', 'h', '--revert-after', '1m'], /^patchbench: --revert-after: a load may take 90 s with this --deadline: give it more$/],
    ['a trial for good', ['livepatch', 'load', 'vrf-lookup', '--host', 'h', '--revert-after', '10m', '--persist'], /^patchbench: --persist is for good, and --revert-after for a trial: add --verify, or leave one of them$/],
    ['--sign with half of a key', ['livepatch', 'load', 'vrf-lookup', '--host', 'h', '--sign', 'key.pem'], /^patchbench: --sign key\.pem: write KEY,CERT: /],
    ['a hosts file that is not there', ['livepatch', 'status', '--host', 'h', '--hosts', '/nowhere/hosts.yaml'], /^patchbench: \/nowhere\/hosts\.yaml cannot be used/],
    ['compare --from-patch of one that is written by hand', ['compare', 'ipmr-loopback', '--from-patch', '--livepatch', 'local-input'], /^patchbench: --livepatch names livepatches that are written by hand: name a --candidate with --from-patch$/],
    ['build livepatch --candidate without --from-patch', ['build', 'livepatch', 'ipmr-loopback', '--candidate', 'skb-ext'], /^patchbench: --candidate is for --from-patch: /],
    ['--bug nonsense', ['report', '--bug', 'nonsense'], /argument 'nonsense' is invalid\. Allowed choices are openwrt, netfilter/],
    ['a report in two forms', ['report', '--html', '--junit'], /^patchbench: --html and --junit: a report has one form$/],
    ['a report of two runs', ['report', 'one', 'two'], /^patchbench: a report is about one run, not about 2: --compare takes two$/],
    ['report --compare of one run', ['report', '--compare', 'one'], /^patchbench: --compare takes two runs, not 1$/],
    ['report --symptom without --bug', ['report', '--symptom', 'one'], /^patchbench: --symptom belongs to --bug$/],
    ['completion for an unknown shell', ['completion', 'tcsh'], /'tcsh' is invalid.* Allowed choices are bash, zsh, fish/],
    ['--bug of no run', ['report', '/etc', '--bug', 'openwrt'], /^patchbench: \/etc holds no results\.json: it is no folder of a run that ended$/],
    ['a host with a key that is none', ['host', '--key', '/etc/hostname'], /^patchbench: --key \/etc\/hostname is no public key of ssh/],
    ['a shell without a terminal', ['shell', 'ipmr-loopback'], /^patchbench: shell needs a terminal/],
  ])('%s', async (_, args, sentence) => {
    expect(await refused(args)).toMatch(sentence)
  })

  it('--set of a parameter that the case has not', async () => {
    const cases = await casesWith(GOOD)
    expect(await refused(['compare', '--cases', cases, '--set', 'query=5'])).toBe(
      "patchbench: --set query=5: the case 'one' has no parameter 'query'; it has queries",
    )
  })

  it('--livepatch that no case has', async () => {
    const cases = await casesWith(GOOD)
    expect(await refused(['compare', '--cases', cases, '--livepatch', 'nosuch'])).toBe(
      'patchbench: --livepatch nosuch: there is none of that name; there are none',
    )
  })

  it('a kernel commit by commit of a case without a candidate', async () => {
    const cases = await casesWith(GOOD)
    expect(await refused(['build', 'kernel', 'one', '--per-commit', '--cases', cases])).toBe("patchbench: the case 'one' has no candidate")
    expect(await refused(['compare', '--variant', 'patched', '--cases', cases])).toBe('patchbench: one has no candidate, only base')
  })

  it('a broken case.yaml, with file, line, key and expectation', async () => {
    const cases = await casesWith(GOOD.replace('tree: linux', 'tree: bsd'))
    expect(await refused(['compare', 'one', '--cases', cases])).toMatch(
      /^patchbench: .*one\/case\.yaml:3: tree: .*"linux"\|"firewall4"\|"ruleset", found 'bsd'$/,
    )
  })

  it('a case without its reproducer', async () => {
    const cases = await casesWith(GOOD.replace('reproduce.py', 'gone.py'))
    expect(await refused(['compare', 'one', '--cases', cases])).toMatch(/case\.yaml: reproducer\.program: .*gone\.py is no file$/)
  })

  it('a folder without cases', async () => {
    expect(await refused(['compare', '--cases', await scratch()])).toMatch(/^patchbench: there is no case in /)
  })

  it('a livepatch of a case that has none', async () => {
    const cases = await casesWith(GOOD)
    const {vmlinuz, modules} = await kernelFiles('HdrS')
    const {stderr, exitCode} = await patchbench(['build', 'livepatch', 'one', '--cases', cases, '--kernel', vmlinuz, '--modules', modules])
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(/^patchbench: the case 'one' has no livepatch$/m)
  })

  it('--kernel with a file that is no kernel', async () => {
    const {vmlinuz, modules} = await kernelFiles('no')
    expect(await refused(['compare', 'ipmr-loopback', '--kernel', vmlinuz, '--modules', modules])).toMatch(
      /^patchbench: --kernel: .*vmlinuz is no bootable x86 kernel image/,
    )
    expect(await refused(['compare', 'ipmr-loopback', '--kernel', '/nowhere/vmlinuz', '--modules', modules])).toBe(
      'patchbench: --kernel: /nowhere/vmlinuz does not exist',
    )
  })
})

async function kernelFiles(magic: string): Promise<{vmlinuz: string; modules: string}> {
  const folder = await scratch()
  const vmlinuz = join(folder, 'vmlinuz')
  const header = Buffer.alloc(0x4000)
  header.write(magic, 0x202, 'latin1')
  header.writeUInt16LE(0x3000, 0x20e)
  header.write('6.12.90-test (builder@host)\0', 0x3200, 'latin1')
  await writeFile(vmlinuz, header)
  const modules = join(folder, '6.12.90-test')
  await mkdir(modules)
  await writeFile(join(modules, 'modules.dep'), '')
  return {vmlinuz, modules}
}

describe('bad input that is found out late:', () => {
  it('--kernel abc is no kernel line, before the archive is asked', async () => {
    const {stderr, exitCode, apt} = await patchbench(['compare', 'ipmr-loopback', '--kernel', 'abc'])
    expect(stderr).toMatch(/^patchbench: 'abc' is no kernel line: give one like 6\.12/m)
    expect({exitCode, apt}).toEqual({exitCode: 2, apt: []})
  })

  it('a folder of cases that is not there', async () => {
    expect(await refused(['cases', '--cases', '/nowhere'])).toContain('/nowhere')
  })
})

describe('what could not run is exit 69:', () => {
  it('an archive that cannot be reached', async () => {
    const {stdout, stderr, exitCode} = await patchbench(['compare', 'ipmr-loopback', '--kernel', '6.12'])
    expect(exitCode).toBe(69)
    expect(stdout).toBe('')
    expect(stderr).toContain('no network')
    expect(stderr).not.toMatch(/^\s+at |a bug in patchbench/m)
  })
})

describe('firewall4, where there is none,', () => {
  it('could not run, with what to give', async () => {
    const {stdout, stderr, exitCode} = await patchbench(['compare', 'fw4-guard'])
    expect([exitCode, stdout]).toEqual([69, ''])
    expect(stderr).toContain('fw4-guard needs a tree of firewall4: name a clone, a git URL or a tarball with --source')
  })

  it('is no matter of other cases', async () => {
    expect(await refused(['compare', 'ipmr-loopback', '--ucode', '/bin/true'])).toContain('--ucode is for cases of the tree firewall4')
  })

  it('is told by doctor of a ucode that is none', async () => {
    const {stdout, exitCode} = await patchbench(['doctor', '--ucode', '/bin/true'])
    expect(exitCode).toBe(69)
    expect(stdout).toMatch(/^ucode +missing +\S*true does not work as ucode/m)
  })
})

describe('an interruption is exit 130:', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s, and nothing is left running', async (signal) => {
    const folder = await scratch()
    const apt = `#!/bin/sh\nsleep 300 &\necho $! $$ >${folder}/pids.new; mv ${folder}/pids.new ${folder}/pids\nwait\n`
    const [fresh, empty] = [join(folder, 'fresh'), await scratch()]
    const output = signal === 'SIGINT' ? fresh : empty
    const {child} = await start(['compare', 'ipmr-loopback', '--kernel', '6.12', '--output', output], {env: {APT: apt}})
    expect(await until(async () => (await readdir(folder)).includes('pids'), 10_000)).toBe(true)
    // While it is under way the folder is nobody else's.
    expect(await refused(['compare', 'ipmr-loopback', '--output', output])).toContain(`--output ${output} is not empty`)
    const pids = (await readFile(join(folder, 'pids'), 'utf8')).trim().split(' ').map(Number)
    // Twice at once, as timeout(1) does, is the same request.
    child.kill(signal)
    setTimeout(() => child.kill(signal), 20)
    const {exitCode, stdout, stderr} = await child
    expect({exitCode, stdout}).toEqual({exitCode: 130, stdout: ''})
    expect(stderr).toMatch(/^patchbench: interrupted$/m)
    expect(await until(() => !pids.some(alive))).toBe(true)
    // What was begun is gone: our folder, and what was put into the user's.
    expect(existsSync(fresh)).toBe(false)
    expect(await readdir(empty)).toEqual([])
  })
})

it('output that cannot be written is told', async () => {
  const full = await open('/dev/full', 'w')
  const {status, stderr} = spawnSync(process.execPath, [projectPath('bin/patchbench'), 'cases'], {stdio: ['ignore', full.fd, 'pipe'], encoding: 'utf8'})
  await full.close()
  expect({status, stderr}).toEqual({status: 69, stderr: 'patchbench: standard output cannot be written (ENOSPC)\n'})
})

it('a folder for --output that holds something is refused before any work, and stays as it was', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'mine'), 'mine')
  expect(await refused(['compare', 'ipmr-loopback', '--kernel', '6.12', '--output', folder])).toContain(`--output ${folder} is not empty: name a new folder`)
  expect(await readdir(folder)).toEqual(['mine'])
})

describe('cases', () => {
  it('--json has what there is to prove', async () => {
    const {stdout, exitCode} = await patchbench(['cases', '--json'])
    expect(exitCode).toBe(0)
    const {schema, cases} = JSON.parse(stdout) as {schema: number; cases: Record<string, unknown>[]}
    expect(schema).toBe(1)
    const one = cases.find(({name}) => name === 'ipmr-loopback')!
    expect(Object.keys(one).sort()).toEqual(['candidates', 'controls', 'directory', 'kernels', 'livepatches', 'name', 'symptoms', 'title', 'tree'])
    expect(one).toMatchObject({
      tree: 'linux',
      kernels: expect.arrayContaining(['6.12']) as unknown,
      livepatches: [{module: 'livepatch_ipmr_loopback', expect: {livepatched: 'fixed', reverted: 'restored'}}],
      symptoms: expect.arrayContaining([{name: expect.any(String) as unknown, about: expect.any(String) as unknown}]) as unknown,
    })
  })

  it('lists the good ones beside a broken one, which is named', async () => {
    const cases = await casesWith(GOOD)
    await mkdir(join(cases, 'two'))
    await writeFile(join(cases, 'two/case.yaml'), 'schema: 2\n')
    const {stdout, stderr, exitCode} = await patchbench(['cases', '--cases', cases])
    expect(stdout).toMatch(/^one /m)
    expect(stderr).toMatch(/^patchbench: .*two\/case\.yaml:1: schema: /)
    expect(exitCode).toBe(2)
  })

  it('without a livepatch say so', async () => {
    const cases = await casesWith(GOOD)
    const json = await patchbench(['cases', '--json', '--cases', cases])
    expect(JSON.parse(json.stdout)).toMatchObject({cases: [{name: 'one', livepatches: [], controls: []}]})
    const {stdout} = await patchbench(['cases', '--cases', cases])
    const [head, line] = stdout.split('\n')
    expect(head).toMatch(/^case +tree +kernels +candidates +livepatches +tests +title$/)
    expect(line).toMatch(/^one +linux +6\.12 +1\+0 +a packet is lost$/)
  })

  it('have absolute folders though theirs was given as a relative one', async () => {
    const cases = await casesWith(GOOD)
    const {stdout} = await patchbench(['cases', '--json', '--cases', '.'], {cwd: cases})
    expect(JSON.parse(stdout)).toMatchObject({cases: [{directory: join(cases, 'one')}]})
  })
})

describe('doctor', () => {
  type Finding = {name: string; state: string; detail: string; package?: string}

  it('--json says what is there and what is not', async () => {
    const {stdout, exitCode} = await patchbench(['doctor', '--json'])
    const {schema, findings, mend} = JSON.parse(stdout) as {schema: number; findings: Finding[]; mend: string | null}
    expect(schema).toBe(1)
    for (const {name, state, detail} of findings) {
      expect(['there', 'missing', 'note']).toContain(state)
      expect(name).not.toBe('')
      expect(detail).not.toBe('')
    }
    expect(findings.map(({name}) => name)).toEqual(expect.arrayContaining(['qemu-system-x86_64', 'setpriv', 'KVM', 'disk']))
    const missing = findings.filter(({state}) => state === 'missing')
    expect(exitCode).toBe(missing.length > 0 ? 69 : 0)
    expect(mend === null).toBe(missing.every((one) => one.package === undefined))
  })
})

describe('help and version', () => {
  it('are exit 0 on standard output', async () => {
    const {version} = JSON.parse(await readFile(projectPath('package.json'), 'utf8')) as {version: string}
    expect(await patchbench(['--version'])).toMatchObject({exitCode: 0, stdout: version, stderr: ''})
    const {stdout, exitCode} = await patchbench(['--help'])
    expect(exitCode).toBe(0)
    for (const command of ['compare', 'shell', 'build', 'cases', 'doctor']) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'))
  })

  it.each(['apply', 'build kernel', 'shell'])('of %s has examples, which name options that it has', async (verb) => {
    const {stdout} = await patchbench([...verb.split(' '), '--help'])
    const [options = '', examples = ''] = stdout.split('\nExamples:\n')
    expect(examples).toMatch(new RegExp(`^  patchbench ${verb} `))
    expect([...examples.matchAll(/ (--[\w-]+)/g)].filter(([, name]) => !options.includes(`  ${name} `))).toEqual([])
  })

  it('come with exit 2 where a command is missing', async () => {
    expect((await patchbench([])).exitCode).toBe(2)
    expect((await patchbench(['build'])).exitCode).toBe(2)
  })
})

describe('a folder of cases of one\'s own', () => {
  it('is made by the first import, and found from there and below', {timeout: 120_000}, async () => {
    const repo = await repository({...LINUX, 'net/a.c': numbered(40)})
    const series = await repo.series([{'net/a.c': numbered(40, {20: 'changed'})}], {titles: ['net: mend it']})
    const cwd = await scratch()
    const made = await patchbench(['import', series, '--source', repo.folder, '--name', 'my-fix'], {cwd})
    expect(made.exitCode, made.stderr).toBe(0)
    expect(made.stdout).toMatch(/my-fix: net: mend it\n {2}made my-fix of 1 patch\n {2}applies to linux 6\.12\.7\n/)
    expect((await readdir(cwd)).sort()).toEqual(['my-fix', 'patchbench.yaml'])
    const listed = await patchbench(['cases', '--json'], {cwd: join(cwd, 'my-fix')})
    expect(JSON.parse(listed.stdout)).toMatchObject({cases: [{name: 'my-fix', candidates: [{name: 'as-proposed', kernels: ['6.12']}]}], broken: []})
    expect((await patchbench(['apply', 'my-fix', '--git', repo.folder], {cwd})).exitCode).toBe(0)
    expect(await refused(['import', series, '--source', repo.folder, '--name', 'my-fix'], {cwd})).toMatch(/my-fix is there already, and nothing is overwritten/)
    expect(await refused(['compare', 'ipmr-loopback'], {cwd})).toMatch(/^patchbench: there is no case 'ipmr-loopback'; there are my-fix/)
  })

  it('is edited and committed to', {timeout: 120_000}, async () => {
    const repo = await repository({...LINUX, 'net/a.c': numbered(40)})
    const series = await repo.series([{'net/a.c': numbered(40, {20: 'changed'})}], {titles: ['net: mend it']})
    const cwd = await scratch()
    await patchbench(['import', series, '--source', repo.folder, '--name', 'my-fix'], {cwd})
    const edit = await patchbench(['edit', 'my-fix', '--git', repo.folder, '--json'], {cwd})
    expect(JSON.parse(edit.stdout)).toMatchObject({folder: join(cwd, 'my-fix.edit'), branch: 'patchbench/my-fix-as-proposed-6.12', patches: ['net: mend it']})
    expect(await refused(['edit', 'my-fix', '--git', repo.folder], {cwd})).toMatch(/is edited in .*my-fix\.edit already: 'patchbench commit my-fix' takes the work in it/)
    await writeFile(join(cwd, 'my-fix.edit/net/a.c'), numbered(40, {20: 'changed, better'}))
    const commit = await patchbench(['commit', 'my-fix'], {cwd})
    expect(commit.exitCode, commit.stderr).toBe(0)
    expect(commit.stdout).toMatch(/^net\/a\.c:20 went into 1 'net: mend it'\n/)
    expect(await readFile(join(cwd, 'my-fix/linux/as-proposed/6.12/0001-net-mend-it.patch'), 'utf8')).toContain('+changed, better\n')
  })
})
