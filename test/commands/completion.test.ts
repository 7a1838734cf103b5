import {execa} from 'execa'
import {existsSync} from 'node:fs'
import {chmod, mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {build} from '../support/build.js'
import {scratch} from '../support/scratch.js'

const PATCHBENCH = projectPath('bin/patchbench')

let scripts: string
let manual: string

beforeAll(async () => {
  await build()
  scripts = await mkdtemp(join(tmpdir(), 'patchbench-test-'))
  for (const shell of ['bash', 'zsh', 'fish']) await writeFile(join(scripts, shell), (await execa(process.execPath, [PATCHBENCH, 'completion', shell])).stdout)
  manual = (await execa(process.execPath, [PATCHBENCH, 'man'])).stdout
})
afterAll(async () => await rm(scripts, {recursive: true}))

const script = (shell: string): string => join(scripts, shell)

/** A folder of runs, one of which has a name that a shell would obey. */
async function runs(): Promise<string> {
  const state = await scratch()
  for (const name of ['20261120-060000-1', '$(touch obeyed)', 'a b', '-rf']) await mkdir(join(state, 'patchbench/runs', name), {recursive: true})
  return state
}

const SH_PROGRAM = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _patchbench; printf '%s\\n' "\${COMPREPLY[@]}"`

/** What bash would offer for the last of these words. */
async function inBash(words: string[], options: {cwd?: string; env?: Record<string, string>} = {}): Promise<string[]> {
  const {stdout, stderr} = await execa('bash', ['-c', SH_PROGRAM, 'bash', script('bash'), PATCHBENCH, ...words], options)
  expect(stderr).toBe('')
  return stdout.split('\n').filter(Boolean)
}

describe('completion in bash', () => {
  it('offers commands, and those below a command', async () => {
    expect(await inBash(['comp'])).toEqual(['compare', 'completion'])
    expect(await inBash(['build', ''])).toEqual(['livepatch', 'kernel', 'ruleset'])
  })

  it('offers the options of the command, whatever stands between', async () => {
    expect(await inBash(['report', 'some-run', '--j'])).toEqual(['--junit', '--json'])
    expect(await inBash(['build', 'kernel', '--per'])).toEqual(['--per-commit'])
    expect(await inBash(['--v'])).toEqual(['--version'])
  })

  it('offers what an option or an argument may be', async () => {
    expect(await inBash(['compare', '--accel', ''])).toEqual(['auto', 'kvm', 'tcg'])
    expect(await inBash(['completion', 'f'])).toEqual(['fish'])
    expect(await inBash(['compare', 'ipmr'])).toEqual(['ipmr-loopback'])
    const cwd = await scratch()
    await mkdir(join(cwd, 'a-folder'))
    await writeFile(join(cwd, 'a-file'), '')
    expect(await inBash(['compare', '--output', 'a-'], {cwd})).toEqual(['a-folder'])
    expect((await inBash(['report', '--output', 'a-'], {cwd})).sort()).toEqual(['a-file', 'a-folder'])
  })

  it('obeys no name of a run', async () => {
    const cwd = await scratch()
    expect(await inBash(['report', ''], {cwd, env: {XDG_STATE_HOME: await runs()}})).toEqual(['20261120-060000-1'])
    expect(existsSync(join(cwd, 'obeyed'))).toBe(false)
  })
})

const hasZsh = existsSync('/usr/bin/zsh') || existsSync('/bin/zsh')
const ZSH_PROGRAM = `
compdef() { :; }; compadd() { print -rl -- "\${@:#--}"; }; _files() { print files "$@"; }; _describe() { print -rl -- \${(P)2%%:*}; }
source "$1"; shift; words=("$@"); CURRENT=$#; _patchbench`

describe.runIf(hasZsh)('completion in zsh', () => {
  it.each<[string[], string[]]>([
    [['build', ''], ['livepatch', 'kernel', 'ruleset']],
    [['compare', '--accel', ''], ['auto', 'kvm', 'tcg']],
    [['compare', '--output', ''], ['files -/']],
    [['compare', ''], ['flowtable-dst', 'ipmr-loopback', 'vrf-lookup']],
    [['completion', '-'], ['--help']],
  ])('offers for %j', async (words, offered) => {
    const {stdout, stderr} = await execa('zsh', ['-fc', ZSH_PROGRAM, 'zsh', script('zsh'), PATCHBENCH, ...words])
    expect(stderr).toBe('')
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(offered))
  })
})

describe.runIf(existsSync('/usr/bin/fish'))('completion in fish', () => {
  it.each<[string, string[]]>([
    ['comp', ['compare', 'completion']],
    ['build ', ['kernel', 'livepatch', 'ruleset']],
    ['compare --accel ', ['auto', 'kvm', 'tcg']],
    ['report --j', ['--json', '--junit']],
    ['compare ipmr', ['ipmr-loopback']],
    ['build kernel --per', ['--per-commit']],
  ])('offers for "%s"', async (words, offered) => {
    const bin = await scratch()
    await writeFile(join(bin, 'patchbench'), `#!/bin/sh\nexec ${process.execPath} ${PATCHBENCH} "$@"\n`)
    await chmod(join(bin, 'patchbench'), 0o755)
    const env = {PATH: `${bin}:${process.env.PATH}`, HOME: bin}
    const {stdout, stderr} = await execa('fish', ['--no-config', '-c', 'source $argv[1]; complete -C "patchbench $argv[2]"', script('fish'), words], {env})
    expect(stderr).toBe('')
    expect(stdout.split('\n').map((line) => line.split('\t')[0])).toEqual(offered)
  })
})

describe('the manual page', () => {
  it('has every command and option, and exit codes', async () => {
    const help = (await execa(process.execPath, [PATCHBENCH, 'compare', '--help'])).stdout
    for (const [flag] of help.matchAll(/--[a-z-]+/g)) expect(manual).toContain(flag.replaceAll('-', '\\-'))
    expect(manual).toContain('\n.SS\npatchbench build kernel [options] <case>\n')
    expect(manual).toMatch(/^\.B 69$/m)
  })

  it.runIf(existsSync('/usr/bin/groff'))('is without fault to groff', async () => {
    const {stderr} = await execa('groff', ['-man', '-Tutf8', '-ww', '-z'], {input: manual})
    expect(stderr).toBe('')
  })
})
