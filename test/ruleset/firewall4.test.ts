import {chmod, cp, mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {candidateOf, type Case, loadCase} from '../../src/case/case.js'
import {chosenFirewall4} from '../../src/commands/firewall4.js'
import {bubblewrap} from '../../src/lib/confine.js'
import {CouldNotRun, InputError} from '../../src/lib/errors.js'
import {projectPath} from '../../src/lib/project.js'
import {type Firewall4, renderedRuleset} from '../../src/ruleset/firewall4.js'
import {findUcode} from '../../src/ruleset/ucode.js'
import {sourceTree} from '../../src/tree/source.js'
import {parseSuite} from '../../src/verdict/suite.js'
import {FIREWALL4, HAS_FIREWALL4} from '../support/firewall4.js'
import {context} from '../support/machine.js'
import {NO_SANDBOX} from '../support/sandbox.js'
import {contextIn, scratch} from '../support/scratch.js'

describe('ucode', () => {
  it('has to be there when it is named', async () => {
    await expect(findUcode(context, '/nowhere/ucode')).rejects.toThrow(InputError)
  })

  it('has to be one', async () => {
    const program = join(await scratch(), 'ucode')
    await writeFile(program, '#!/bin/sh\necho not today\n')
    await chmod(program, 0o755)
    await expect(findUcode(context, program)).rejects.toMatchObject({name: 'CouldNotRun', message: expect.stringContaining('does not work as ucode') as string, detail: 'not today'})
  })
})

describe('what is named as ucode', () => {
  /** A program that claims to have read these mappings of its own. */
  async function named(name: string, text: string, mode = 0o755): Promise<string> {
    const program = join(await scratch(), name)
    await writeFile(program, text)
    await chmod(program, mode)
    return program
  }
  const MAPS = '7f0000000000-7f0000001000 r-xp 00000000 fe:00 1 '

  it('may not be a script that starts it, and the program is named', async () => {
    const program = await named('ucode', 'not run')
    const script = await named('wrapper', `#!/bin/sh\necho '${MAPS}${program}'\n`)
    await expect(findUcode(context, script)).rejects.toThrow(InputError)
    await expect(findUcode(context, script)).rejects.toThrow(`--ucode ${script} is a script that starts ${program}: name that program itself`)
  })

  it.each<[what: string, path: () => Promise<string>, error: typeof InputError | typeof CouldNotRun, words: RegExp]>([
    ['a folder', scratch, InputError, /is no file: name the program/],
    ['a file that cannot be run', async () => await named('ucode', '', 0o644), InputError, /is not executable: chmod \+x/],
    ['a program that fails', async () => await named('ucode', '#!/bin/sh\nexit 3\n'), CouldNotRun, /ended with exit code 3/],
    ['a program that prints nothing', async () => await named('ucode', '#!/bin/sh\n'), CouldNotRun, /it printed nothing, so it is no ucode/],
    ['a program that prints something else', async () => await named('ucode', '#!/bin/sh\necho hello\n'), CouldNotRun, /is not what ucode prints/],
    ['no program at all', async () => await named('ucode', '#!/no/such/interpreter\n'), CouldNotRun, /it cannot be started/],
  ])('may not be %s', async (_, path, error, words) => {
    const program = await path()
    await expect(findUcode(context, program)).rejects.toThrow(error)
    await expect(findUcode(context, program)).rejects.toThrow(words)
  })
})

describe('where there is no firewall4', () => {
  const GUARD = async () => await loadCase('fw4-guard')
  const OTHER = async () => await loadCase('flowtable-dst')

  it('says so, and how to give one', async () => {
    await expect(chosenFirewall4(context, [await GUARD()], {})).rejects.toThrow(CouldNotRun)
    await expect(chosenFirewall4(context, [await GUARD()], {})).rejects.toThrow(/fw4-guard needs a tree of firewall4: name a clone, a git URL or a tarball with --source/)
  })

  it('is none of the other cases business', async () => {
    const options = {source: 'linux', base: 'v6.12'}
    expect(await chosenFirewall4(context, [await OTHER()], options)).toEqual({options})
  })

  it.each<[what: string, cases: ('guard' | 'other')[], options: object, words: RegExp]>([
    ['a tree of linux, though another case could be built from it', ['guard', 'other'], {source: projectPath('.')}, /is no tree of firewall4/],
    ['a ucode for no case', ['other'], {ucode: 'ucode'}, /--ucode is for cases of the tree firewall4/],
    ['a revision of nothing', ['guard'], {base: 'HEAD'}, /--base is a revision of --source/],
    ['a tree of another kind', ['guard'], {source: projectPath('.')}, /is no tree of firewall4/],
  ])('refuses %s', async (_, cases, options, words) => {
    const loaded = await Promise.all(cases.map(async (one) => await (one === 'guard' ? GUARD() : OTHER())))
    const refused = chosenFirewall4(context, loaded, options)
    await expect(refused).rejects.toThrow(InputError)
    await expect(refused).rejects.toThrow(words)
  })
})

describe.runIf(HAS_FIREWALL4)('the rulesets of firewall4', () => {
  const LINE = 'meta l4proto { tcp, udp }'

  async function firewall4(): Promise<Firewall4> {
    return {source: await sourceTree(context, {tree: 'firewall4', from: FIREWALL4.source}), ucode: await findUcode(context, FIREWALL4.ucode)}
  }

  async function texts(one: Case, candidate?: string): Promise<Record<string, string>> {
    const {files} = await renderedRuleset(context, one, await firewall4(), candidate === undefined ? undefined : candidateOf(one, candidate))
    return Object.fromEntries(await Promise.all(Object.entries(files).map(async ([ending, path]) => [ending, await readFile(path, 'utf8')] as const)))
  }

  /** The case with another router. */
  async function withRouter(change: (router: string) => Promise<void>): Promise<Case> {
    const one = await loadCase('fw4-guard')
    const router = join(await scratch(), 'router')
    await cp(one.firewall4!.router, router, {recursive: true})
    await change(router)
    return {...one, firewall4: {...one.firewall4!, router}}
  }

  it('are what the described router would load, one more for each variation', async () => {
    const one = await loadCase('fw4-guard')
    const base = await texts(one)
    expect(Object.keys(base)).toEqual(['nft', 'hardware.nft', 'open.nft', 'masked.nft'])
    expect(base.nft).toContain('devices = { "br-lan", "br-vlan10", "wan" }')
    expect(base.nft).toContain(`policy drop;\n\n\t\t${LINE} flow offload @ft;`)
    expect(base['hardware.nft']).toContain('devices = { "lan1", "lan2", "lan3", "lan4", "wan" };\n\t\tcounter;\n\t\tflags offload;')
    expect(base['open.nft']).toContain(`policy accept;\n\n\t\t${LINE} flow offload @ft;`)
    const revised = await texts(one, 'revised')
    expect(revised['masked.nft']).toContain(`${LINE} ct direction original meta mark and 0xff == 0x0 ct mark and 0xff == 0x0 flow offload @ft;`)
  })

  it('come with what its own tests say, and what it warns of', async () => {
    const one = await loadCase('fw4-guard')
    const {tests, notes} = await renderedRuleset(context, one, await firewall4())
    const suite = parseSuite(await readFile(tests!, 'utf8'))!
    expect(Object.values(suite)).toEqual(Array<string>(31).fill('passed'))
    expect(notes).toEqual(["variation 'masked': firewall4 says Section @defaults[0] specifies unknown option 'flow_offloading_mask'"])
    expect((await renderedRuleset(context, one, await firewall4(), candidateOf(one, 'revised'))).notes).toEqual([])
  })

  it.skipIf(NO_SANDBOX)('are the same where a stranger\'s tree is rendered in a sandbox', async () => {
    const one = await loadCase('fw4-guard')
    const given = await firewall4()
    const confined = {...contextIn(join(await scratch(), 'cache')), confine: await bubblewrap(context.signal)}
    await mkdir(confined.cache)
    const theirs = await renderedRuleset(confined, one, given)
    const ours = await texts(one)
    for (const [ending, path] of Object.entries(theirs.files)) expect(await readFile(path, 'utf8')).toBe(ours[ending])
    expect(Object.values(parseSuite(await readFile(theirs.tests!, 'utf8'))!)).toEqual(Array<string>(31).fill('passed'))
  })

  it('are none where the router leaves a question open', async () => {
    const one = await withRouter(async (router) => await writeFile(join(router, 'fs/open~_proc_version.txt'), ''))
    await expect(texts(one)).rejects.toMatchObject({name: 'CouldNotRun', detail: expect.stringContaining('/proc/version') as string})
  })

  it('are none where its configuration is no JSON', async () => {
    const one = await withRouter(async (router) => await writeFile(join(router, 'uci/firewall.json'), 'config defaults\n'))
    await expect(texts(one)).rejects.toThrow(/uci\/firewall\.json is no UCI configuration/)
  })

  it('are none where firewall4 fails on them, with its own words', async () => {
    const one = await loadCase('fw4-guard')
    const broken = {...one, firewall4: {...one.firewall4!, variations: {odd: {flow_offloading: 'maybe'}}}}
    await expect(texts(broken)).rejects.toMatchObject({name: 'CouldNotRun', detail: expect.stringContaining("specifies invalid value 'maybe'") as string})
  })
})
