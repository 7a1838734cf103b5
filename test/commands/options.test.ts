import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {applyCommand, type ApplyCommandOptions} from '../../src/commands/apply.js'
import {buildLivepatchCommand} from '../../src/commands/build.js'
import {checkCommand, type CheckOptions} from '../../src/commands/check.js'
import {chosenBuilds, chosenKernels, chosenTargets} from '../../src/commands/kernels.js'
import {checkFixes, checkRefresh, refuseIdle} from '../../src/commands/options.js'
import {type PreflightOptions, preflightCommand} from '../../src/commands/livepatch.js'
import {collectCommand, type CollectCommandOptions} from '../../src/commands/router.js'
import {sendCommand, type SendOptions} from '../../src/commands/send.js'
import {shellCommand, type ShellOptions} from '../../src/commands/shell.js'
import {type WatchOptions, watchCommand} from '../../src/commands/watch.js'
import {projectPath} from '../../src/lib/project.js'
import {complaint} from '../support/complaint.js'
import {fileWith, mail, creation} from '../support/repository.js'
import {contextIn} from '../support/scratch.js'

const ONE = {name: 'one', tree: 'linux', kernels: ['6.12'], livepatches: [{name: 'live'}], candidates: [{name: 'fix'}]} as Case
const RULES = {...ONE, tree: 'ruleset'} as Case
const CASES = join(projectPath('test/fixtures'), 'cases')

const context = contextIn('/nowhere')
const ON_HOST: PreflightOptions = {host: ['none'], accel: 'auto', buildOn: 'host'}

describe('an option that cannot act is refused', () => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a flag that is off', false],
    ['an empty list', []],
  ])('but not %s', (_, value) => expect(() => refuseIdle({inReplyTo: value}, 'is idle')).not.toThrow())

  it('by the name that the user wrote', () => {
    expect(() => refuseIdle({to: [], inReplyTo: 'x'}, 'is idle')).toThrow('--in-reply-to is idle')
  })

  it.each<[string, () => void, string]>([
    ['--livepatch on candidates', () => checkFixes([ONE], ['base', 'patched'], {livepatch: ['live']}), '--livepatch is about a livepatch, which is not loaded in base, patched: ask for --variant livepatched, or leave it out'],
    ['--candidate on livepatches', () => checkFixes([ONE], ['base', 'livepatched'], {candidate: ['fix']}), '--candidate is about a candidate, which is not in base, livepatched: ask for --variant patched, or leave it out'],
    ['--from-patch without livepatches', () => checkFixes([ONE], ['base', 'patched'], {fromPatch: true}), '--from-patch is about a livepatch, which is not loaded in base, patched: ask for --variant livepatched, or leave it out'],
    ['--candidate of rulesets', () => checkFixes([RULES], ['base'], {candidate: ['fix']}), '--candidate is about a candidate, which is not in base: ask for --variant ruleset, or leave it out'],
  ])('%s', (_, check, sentence) => expect(check).toThrow(sentence))

  it('and no fix that one of the cases runs with', () => {
    expect(() => checkFixes([ONE, RULES], ['base', 'ruleset'], {candidate: ['fix']})).not.toThrow()
    expect(() => checkFixes([ONE], ['reverted', 'patched'], {candidate: ['fix'], livepatch: ['live']})).not.toThrow()
    expect(() => checkFixes([ONE], ['base', 'livepatched'], {candidate: ['fix'], fromPatch: true})).not.toThrow()
  })

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['--refresh of a folder', async () => await checkRefresh({source: '/tmp', refresh: true}), /^--refresh looks for what is newer than the cache has, and \/tmp is taken as it is/],
    ['--refresh of a folder to build', async () => await chosenBuilds(context, ONE, {source: '/tmp', refresh: true}), /^--refresh looks/],
    ['--refresh of an image', async () => await chosenKernels(context, {kernel: '/boot/x', modules: '/x', refresh: true}), /^--refresh looks .* an image at hand/],
    ['--headers of a line', async () => await chosenKernels(context, {kernel: '6.12', headers: '/x'}), /^--headers is about an image at hand/],
    ['--modules of a build', async () => await chosenBuilds(context, ONE, {modules: '/x'}), /^--modules is about an image at hand, and this kernel is built/],
    ['--idle without a build', async () => await chosenTargets(context, [ONE], {idle: true}), /^--idle is about building kernels, and none is built/],
    ['--idle of a livepatch', async () => await buildLivepatchCommand(context, 'ipmr-loopback', {idle: true}), /^--idle is about building a kernel, and none is built/],
    ['--headers of a build on the host', async () => await preflightCommand(context, 'vrf-lookup', {...ON_HOST, headers: 'host'}), /^--headers is about building here, and --build-on host takes the headers that are there: leave one of them out$/],
    ['--headers of an image, for a build on the host', async () => await preflightCommand(context, 'vrf-lookup', {...ON_HOST, kernel: '/x', modules: '/x', headers: '/x'}), /^--headers is about building here/],
    ['--interface without a capture', async () => await collectCommand(context, {host: 'none', capture: 0, interface: ['eth0']} as CollectCommandOptions), /^--interface is about capturing packets/],
  ])('%s', async (_, act, sentence) => expect(await complaint(act())).toMatch(sentence))

  it('--refresh of a URL or a line can act', async () => {
    await checkRefresh({source: 'https://example.org/x.git', refresh: true})
    await checkRefresh({refresh: true})
  })

  it.each<[Partial<ApplyCommandOptions>, RegExp]>([
    [{git: '/tmp', refresh: true}, /^--refresh is about --source, and --git is taken as it is: leave it out$/],
    [{git: '/tmp', tree: 'linux'}, /^--tree is about --source, and --git is taken as it is: leave it out$/],
    [{source: '/tmp', refresh: true}, /^--refresh looks for what is newer/],
    [{git: '/tmp', kernel: '6.12'}, /^--kernel is about a case, and .*series\.mbox is none: name the tree by --git or --source$/],
    [{git: '/tmp', cases: CASES}, /^--cases is about a case, and .*series\.mbox is none/],
  ])('of apply: %j', async (options, sentence) => {
    expect(await complaint(applyCommand(context, [await fileWith(mail(creation('n.c')))], options))).toMatch(sentence)
  })

  it('--tree of a case', async () => {
    expect(await complaint(applyCommand(context, ['ipmr-loopback'], {tree: 'linux'}))).toBe('--tree is about a series that is in no case: leave it out')
  })

  it.each<[Partial<ShellOptions>, RegExp]>([
    [{variant: 'base', candidate: 'local-input'}, /^--candidate is about a candidate, which is not in base: ask for --variant patched/],
    [{variant: 'patched', livepatch: 'ipmr-loopback'}, /^--livepatch is about a livepatch, which is not loaded in patched/],
    [{variant: 'base', vng: true, root: 'x.tar'}, /^--root is about the reproducer and its guest/],
    [{variant: 'base', idle: true}, /^--idle is about building kernels/],
  ])('of shell: %j', async (options, sentence) => {
    expect(await complaint(shellCommand(context, 'ipmr-loopback', {set: [], accel: 'auto', ...options} as ShellOptions))).toMatch(sentence)
  })

  it.each<[Partial<CheckOptions>, RegExp]>([
    [{build: false, debug: ['kasan'], format: 'table'}, /^--debug is about building the patches, and --no-build leaves that out/],
    [{build: true, json: true, format: 'ktap'}, /^--format ktap and --json are two forms: take one of them$/],
    [{build: true, format: 'table', source: '/tmp', refresh: true}, /^--refresh looks for what is newer/],
  ])('of check: %j', async (options, sentence) => {
    expect(await complaint(checkCommand(context, 'ipmr-loopback', options as CheckOptions))).toMatch(sentence)
  })

  it.each<[Partial<SendOptions>, RegExp]>([
    [{resume: true, to: ['x@example.org']}, /^--to is about making mails, and --resume sends those that are made: leave it out$/],
    [{resume: true, output: 'x'}, /^--output is about mails that are not sent/],
    [{sloppyTrailers: true}, /^--sloppy-trailers is about --tags, which is missing$/],
  ])('of send: %j', async (options, sentence) => {
    const given = {arrived: [], lost: [], to: [], cc: [], exclude: [], results: [], ...options} as SendOptions
    expect(await complaint(sendCommand(context, 'ipmr-loopback', given))).toMatch(sentence)
  })

  it.each<[Partial<WatchOptions>, RegExp]>([
    [{livepatch: ['nosuch']}, /^--livepatch nosuch: there is none of that name/],
    [{variant: ['base', 'patched'], livepatch: ['local-input']}, /^--livepatch is about a livepatch, which is not loaded in base, patched/],
  ])('of watch: %j', async (options, sentence) => {
    expect(await complaint(watchCommand(context, 'ipmr-loopback', {set: [], accel: 'auto', trace: false, ...options} as WatchOptions, ''))).toMatch(sentence)
  })
})
