import {mkdir, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {asLivepatches, candidateOf, candidateVariant, caseNames, isForLine, livepatchOf, loadCase, parseCase, seriesFor} from '../../src/case/case.js'
import {InputError} from '../../src/lib/errors.js'
import {scratch} from '../support/scratch.js'

const GOOD = `schema: 1
title: a packet is lost
tree: linux
kernels: ['6.1', '6.12']
reproducer:
  program: reproduce.py
  modules: [vrf]
  parameters:
    queries: 50
    slow: true
    name: eth0
symptoms:
  - name: one-copy
    about: one copy on the wire
  - name: two-copies
    about: two of them
controls:
  - name: delivered
    about: the receiver gets it
livepatches:
  - name: input
    source: livepatch
    module: livepatch_one
    parameters:
      limit: 5
    claims: [one-copy]
    expect:
      livepatched: fixed
      reverted: restored
`

/** The text with one line replaced: the message's line is known then. */
function broken(from: string | RegExp, to: string): string {
  const text = GOOD.replace(from, to)
  expect(text).not.toBe(GOOD)
  return text
}

function complaint(text: string): string {
  try {
    parseCase(text, 'patches/one/case.yaml')
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as InputError).message
  }
  throw new Error('it was taken')
}

describe('a good case.yaml', () => {
  it('is read, with what is left out filled in', () => {
    expect(parseCase(GOOD, 'case.yaml')).toEqual({
      schema: 1,
      title: 'a packet is lost',
      tree: 'linux',
      kernels: ['6.1', '6.12'],
      reproducer: {
        program: 'reproduce.py',
        time: 'real',
        deadline: 30,
        memory: 512,
        packages: [],
        modules: ['vrf'],
        parameters: {queries: '50', slow: 'true', name: 'eth0'},
      },
      symptoms: [{name: 'one-copy', about: 'one copy on the wire'}, {name: 'two-copies', about: 'two of them'}],
      controls: [{name: 'delivered', about: 'the receiver gets it'}],
      candidates: [],
      probes: [],
      livepatches: [
        {
          name: 'input',
          source: 'livepatch',
          module: 'livepatch_one',
          parameters: {limit: '5'},
          claims: ['one-copy'],
          expect: {livepatched: 'fixed', reverted: 'restored'},
        },
      ],
    })
  })

  it('needs neither a livepatch nor controls', () => {
    const short = GOOD.slice(0, GOOD.indexOf('controls:'))
    expect(parseCase(short, 'case.yaml')).toMatchObject({controls: [], livepatches: []})
  })
})

const CANDIDATES = `candidates:
  - name: revised
    claims: [one-copy]
    expect: {patched: fixed}
  - name: as-proposed
    expect: {patched: regressed}
kconfig: extra.config
`

describe('a case with candidates', () => {
  it('is read, with a fragment and the kernels of a livepatch', () => {
    const text = GOOD.replace('    module: livepatch_one', "    module: livepatch_one\n    kernels: ['6.12']")
    const {candidates, kconfig, livepatches} = parseCase(text + CANDIDATES, 'case.yaml')
    expect(candidates).toEqual([
      {name: 'revised', claims: ['one-copy'], expect: {patched: 'fixed'}},
      {name: 'as-proposed', expect: {patched: 'regressed'}},
    ])
    expect(kconfig).toBe('extra.config')
    expect(livepatches[0]?.kernels).toEqual(['6.12'])
  })

  it.each<[what: string, from: string, to: string, words: string]>([
    ['a name that is no folder\'s', 'name: revised', 'name: ../revised', 'candidates.0.name: expected small letters'],
    ['an unknown key', 'claims: [one-copy]', 'claim: [one-copy]', "candidates.0: 'claim' is no key"],
    ['a verdict of livepatches', '{patched: fixed}', '{patched: restored}', 'candidates.0.expect.patched: '],
    ['an expectation of rulesets', '{patched: fixed}', '{ruleset: fixed}', "candidate 'revised': expect: a candidate of the tree linux runs as 'patched'"],
    ['two expectations', '{patched: fixed}', '{patched: fixed, ruleset: fixed}', "candidate 'revised': expect: a candidate of the tree linux runs as 'patched'"],
    ['no verdict in it', '{patched: fixed}', '{}', "runs as 'patched': write {patched: fixed}"],
    ['no expectation', '    expect: {patched: fixed}\n', '', 'candidates.0.expect: '],
    ['a claim that is no symptom', 'claims: [one-copy]', 'claims: [delivered]', "candidate 'revised': claims: 'delivered' is no symptom of this case"],
    ['a name for two', 'name: as-proposed', 'name: revised', "the candidate 'revised' is named twice"],
    ['a fragment that is a list', 'kconfig: extra.config', 'kconfig: [CONFIG_A=y]', 'kconfig: expected string'],
  ])('is refused for %s', (_, from, to, words) => {
    expect(CANDIDATES).toContain(from)
    const message = complaint(GOOD + CANDIDATES.replace(from, to))
    expect(message).toMatch(/^patches\/one\/case\.yaml(:\d+)?: /)
    expect(message).toContain(words)
  })

  it.each([
    ['[]', 'livepatches.0.kernels: expected at least one'],
    ['[6.12]', 'livepatches.0.kernels.0: expected string'],
    ["['6.12.7']", 'livepatches.0.kernels.0: '],
  ])('is refused for a livepatch for kernels %s', (kernels, words) => {
    expect(complaint(broken('    module: livepatch_one', `    module: livepatch_one\n    kernels: ${kernels}`))).toContain(words)
  })

  it('may have a candidate and a livepatch of one name', () => {
    const {candidates, livepatches} = parseCase(GOOD + CANDIDATES.replace('name: revised', 'name: input'), 'case.yaml')
    expect(candidates[0]?.name).toBe(livepatches[0]?.name)
  })
})

const PROBES = `probes:
  - name: enqueue
    function: enqueue_to_backlog
    fetch:
      flags: +{sk_buff.cb+inet_skb_parm.flags}($arg1):x16
      source: +{nf_conn.tuplehash[0].tuple.src.u3.ip}($arg1):u8[4]
    filter: flags & 1
    stack: true
  - name: dropped
    function: [f, f.isra.0]
    module: nf_nat
    return: true
    optional: true
`

describe('a case with probes', () => {
  it('is read, with what is left out filled in', () => {
    expect(parseCase(GOOD + PROBES, 'case.yaml').probes).toEqual([
      {
        name: 'enqueue',
        function: ['enqueue_to_backlog'],
        fetch: {flags: '+{sk_buff.cb+inet_skb_parm.flags}($arg1):x16', source: '+{nf_conn.tuplehash[0].tuple.src.u3.ip}($arg1):u8[4]'},
        filter: 'flags & 1',
        ...{stack: true, return: false, optional: false},
      },
      {name: 'dropped', function: ['f', 'f.isra.0'], module: 'nf_nat', fetch: {}, stack: false, return: true, optional: true},
    ])
  })

  it.each<[what: string, from: string, to: string, words: string]>([
    ['a name that is no event\'s', 'name: enqueue', 'name: en/queue', 'probes.0.name: expected up to 31 small letters'],
    ['a name for two', 'name: dropped', 'name: enqueue', "the probe 'enqueue' is named twice"],
    ['a second command in a function', 'enqueue_to_backlog', '"f\\np:x g"', 'probes.0.function'],
    ['an offset in a function', 'enqueue_to_backlog', 'f+0x10', 'probes.0.function'],
    ['no function', '[f, f.isra.0]', '[]', 'probes.1.function'],
    ['a module that is a path', 'nf_nat', '../nf_nat', 'probes.1.module: expected a module name'],
    ['a second argument in one', '($arg1):x16', '($arg1):x16 b=$arg2', 'probes.0.fetch.flags: expected a fetch argument'],
    ['a second command in an argument', '+{sk_buff.cb+inet_skb_parm.flags}($arg1):x16', '"$arg1\\n-:x"', 'probes.0.fetch.flags: expected a fetch argument'],
    ['C in a member', 'sk_buff.cb+', 'sk_buff.cb)+sizeof(int+', 'probes.0.fetch.flags: expected a fetch argument'],
    ['a structure alone', '{sk_buff.cb+inet_skb_parm.flags}', '{sk_buff}', 'probes.0.fetch.flags: expected a fetch argument'],
    ['braces that stay open', '{sk_buff.cb+inet_skb_parm.flags}', '{sk_buff.cb', 'probes.0.fetch.flags: expected a fetch argument'],
    ['a field that is no name', 'flags: +', 'fl-ags: +', 'probes.0.fetch'],
    ['a second line in a filter', 'flags & 1', '"flags & 1\\nstacktrace"', 'probes.0.filter: expected one line'],
    ['an unknown key', 'stack: true', 'stacks: true', "probes.0: 'stacks' is no key"],
  ])('is refused for %s', (_, from, to, words) => {
    expect(PROBES).toContain(from)
    const message = complaint(GOOD + PROBES.replace(from, () => to))
    expect(message).toMatch(/^patches\/one\/case\.yaml(:\d+)?: /)
    expect(message).toContain(words)
  })
})

describe('a bad case.yaml is refused with file, line, key and expectation:', () => {
  it.each<[what: string, text: () => string, place: string, words: string[]]>([
    ['bad YAML', () => broken('title: a packet is lost', 'title: a packet: lost'), ':2', ['mappings']],
    ['a key written twice', () => broken('tree: linux', 'title: again'), ':3', ['unique']],
    ['an unknown key', () => broken('    module: livepatch_one', '    module: livepatch_one\n    modul: x'), ':24', ['livepatches.0', "'modul'", 'no key']],
    ['an unknown key at the top', () => `${GOOD}kernel: 6.1\n`, ':30', ["'kernel'", 'no key']],
    ['another schema', () => broken('schema: 1', 'schema: 2'), ':1', ['schema: ', '1']],
    ['a tree that is none', () => broken('tree: linux', 'tree: bsd'), ':3', ['tree: ', '"linux"|"firewall4"|"ruleset"']],
    ['a device with a space', () => `${GOOD}ruleset: {devices: [br lan]}\n`, ':30', ['ruleset.devices.0: ', 'network device']],
    ['a kernel line without quotes', () => broken("['6.1', '6.12']", '[6.10]'), ':4', ['kernels.0: ', 'expected string']],
    ['a kernel that is no line', () => broken("'6.12'", "'6.12.3'"), ':4', ['kernels.1: ', "like '6.12'"]],
    ['no kernel', () => broken("['6.1', '6.12']", '[]'), ':4', ['kernels: ', 'expected at least one']],
    ['a package name with a space', () => broken('  modules: [vrf]', '  packages: [a b]'), ':7', ['reproducer.packages.0: ', 'Debian package name']],
    ['a module name with a slash', () => broken('[vrf]', '[../vrf]'), ':7', ['reproducer.modules.0: ', 'kernel module name']],
    ['a deadline of nothing', () => broken('  modules: [vrf]', '  deadline: 0'), ':7', ['reproducer.deadline: ', '>0']],
    ['too little memory', () => broken('  modules: [vrf]', '  memory: 64'), ':7', ['reproducer.memory: ', '>=256']],
    ['a time that is none', () => broken('  modules: [vrf]', '  time: slow'), ':7', ['reproducer.time: ', '"real"|"virtual"']],
    ['a test name with capitals', () => broken('name: two-copies', 'name: Two'), ':15', ['symptoms.1.name: ', 'small letters']],
    ['a test about nothing', () => broken('about: two of them', "about: ''"), ':16', ['symptoms.1.about: ', 'expected some words']],
    ['a symptom that is a word', () => broken(/ {2}- name: two-copies\n {4}about: two of them/, '  - two'), ':15', ['symptoms.1: ', 'expected object']],
    ['a module name with hyphens', () => broken('livepatch_one', 'livepatch-one'), ':23', ['livepatches.0.module: ', 'underscores']],
    ['a verdict that cannot be', () => broken('livepatched: fixed', 'livepatched: restored'), ':28', ['livepatches.0.expect.livepatched: ', '"fixed"']],
    ['a list for a parameter', () => broken('limit: 5', 'limit: [5]'), ':25', ['livepatches.0.parameters.limit: ']],
    ['a reproducer that is a word', () => `${GOOD.slice(0, GOOD.indexOf('reproducer:'))}reproducer: x\nsymptoms: []\n`, ':5', ['reproducer: ', 'expected object']],
  ])('%s', (_, text, place, words) => {
    const message = complaint(text())
    expect(message).toMatch(new RegExp(`^patches/one/case\\.yaml${place}: `))
    for (const word of words) expect(message).toContain(word)
    expect(message).not.toContain('\n')
  })

  it.each<[key: string, line: string, left?: string]>([
    ['title', 'title: a packet is lost\n'],
    ['reproducer.program', '  program: reproduce.py\n'],
    ['livepatches.0.expect.reverted', '      reverted: restored\n'],
    ['livepatches.0.name', '  - name: input\n    source: livepatch', '  - source: livepatch'],
  ])('a missing %s', (key, line, left = '') => {
    expect(complaint(broken(line, left))).toMatch(new RegExp(`^patches/one/case\\.yaml(:\\d+)?: ${key.replaceAll('.', '\\.')}: .*expected`))
  })

  it('no symptom at all', () => {
    expect(complaint(broken(/symptoms:[^]*controls:/, 'symptoms: []\ncontrols:'))).toContain('symptoms: ')
  })

  it('an empty file', () => {
    expect(complaint('')).toBe('patches/one/case.yaml: the file: expected object, received null')
    expect(complaint('- a list\n')).toContain('expected object, received array')
  })

  it('a name for two tests', () => {
    expect(complaint(broken('name: delivered', 'name: one-copy'))).toBe(
      "patches/one/case.yaml: the test 'one-copy' is named twice; a name belongs to one symptom or one control",
    )
    expect(complaint(broken('name: two-copies', 'name: one-copy'))).toContain("'one-copy' is named twice")
  })

  it('a name for two livepatches', () => {
    expect(complaint(GOOD + GOOD.slice(GOOD.indexOf('  - name: input')))).toBe("patches/one/case.yaml: the livepatch 'input' is named twice")
  })

  it('a claim that is no symptom', () => {
    expect(complaint(broken('claims: [one-copy]', 'claims: [one-copy, delivered]'))).toBe(
      "patches/one/case.yaml: livepatch 'input': claims: 'delivered' is no symptom of this case",
    )
  })

  it('an alias without an anchor', () => {
    expect(complaint(broken('title: a packet is lost', 'title: *nothing'))).toContain('patches/one/case.yaml')
  })
})

describe('a folder of cases', () => {
  async function folderWith(text: string): Promise<string> {
    const folder = await scratch()
    await mkdir(join(folder, 'one/livepatch'), {recursive: true})
    await writeFile(join(folder, 'one/case.yaml'), text)
    await writeFile(join(folder, 'one/reproduce.py'), '')
    return folder
  }

  it('lists what has a case.yaml, in order', async () => {
    const folder = await folderWith(GOOD)
    await mkdir(join(folder, 'another'))
    await writeFile(join(folder, 'another/case.yaml'), GOOD)
    await mkdir(join(folder, 'empty/case.yaml'), {recursive: true})
    await writeFile(join(folder, 'case.yaml'), GOOD)
    expect(await caseNames(folder)).toEqual(['another', 'one'])
  })

  it('gives a case with absolute paths', async () => {
    const folder = await folderWith(GOOD)
    const one = await loadCase('one', folder)
    expect(one).toMatchObject({name: 'one', directory: join(folder, 'one')})
    expect(one.reproducer.program).toBe(join(folder, 'one/reproduce.py'))
    expect(one.livepatches).toMatchObject([{name: 'input', source: join(folder, 'one/livepatch'), claims: ['one-copy']}])
  })

  it('claims every symptom where the livepatch does not say', async () => {
    const one = await loadCase('one', await folderWith(broken('    claims: [one-copy]\n', '')))
    expect(one.livepatches[0]?.claims).toEqual(['one-copy', 'two-copies'])
  })

  it('has no such case, and says which there are', async () => {
    const folder = await folderWith(GOOD)
    await expect(loadCase('two', folder)).rejects.toThrow(new InputError("there is no case 'two'; there are one (see 'patchbench cases')"))
    await expect(loadCase('../one', folder)).rejects.toThrow("there is no case '../one'")
    await expect(loadCase('two', await scratch())).rejects.toThrow('there are none')
  })

  it('has the livepatch that is named, and the first where none is', async () => {
    const second = GOOD.slice(GOOD.indexOf('  - name: input')).replace('name: input', 'name: output')
    const one = await loadCase('one', await folderWith(GOOD + second))
    expect(livepatchOf(one).name).toBe('input')
    expect(livepatchOf(one, 'output').name).toBe('output')
    expect(() => livepatchOf(one, 'forward')).toThrow(new InputError("the case 'one' has no livepatch 'forward'; it has input, output"))
    expect(() => livepatchOf({...one, livepatches: []})).toThrow(new InputError("the case 'one' has no livepatch"))
  })

  /** A folder whose case has candidates, and these folders and files. */
  async function candidatesWith(...paths: string[]): Promise<string> {
    const folder = await folderWith(GOOD + CANDIDATES)
    for (const path of paths) {
      await mkdir(dirname(join(folder, 'one', path)), {recursive: true})
      await (path.endsWith('/') ? mkdir(join(folder, 'one', path), {recursive: true}) : writeFile(join(folder, 'one', path), ''))
    }
    return folder
  }

  it('can have its candidates as livepatches, for the lines that they have a series for', async () => {
    const folder = await candidatesWith('linux/revised/6.12/', 'linux/as-proposed/6.1/', 'linux/as-proposed/6.12/', 'extra.config')
    const one = await loadCase('one', folder)
    const livepatches = asLivepatches({...one, name: 'One.case'})
    expect(livepatches.map(({name, module, kernels, expect: verdicts}) => ({name, module, kernels, verdicts}))).toEqual([
      {name: 'revised', module: 'livepatch_one_case_revised', kernels: ['6.12'], verdicts: {livepatched: 'fixed', reverted: 'restored'}},
      {name: 'as-proposed', module: 'livepatch_one_case_as_proposed', kernels: ['6.1', '6.12'], verdicts: {livepatched: 'regressed', reverted: 'restored'}},
    ])
    expect(livepatches[0]).toMatchObject({claims: one.candidates[0]!.claims, madeOf: {candidate: 'revised', insteadOf: one.livepatches}})
    expect(asLivepatches({...one, tree: 'firewall4'})).toEqual([])
  })

  it('finds the series of candidates by line, and nothing else', async () => {
    const folder = await candidatesWith('linux/revised/6.1/', 'linux/revised/6.12/', 'linux/revised/old/', 'linux/revised/7.2', 'linux/as-proposed/6.12/', 'extra.config')
    const one = await loadCase('one', folder)
    const place = (...words: string[]) => join(folder, 'one/linux', ...words)
    expect(one.candidates).toEqual([
      {name: 'revised', claims: ['one-copy'], expect: {patched: 'fixed'}, series: {'6.1': place('revised/6.1'), '6.12': place('revised/6.12')}},
      {name: 'as-proposed', claims: ['one-copy', 'two-copies'], expect: {patched: 'regressed'}, series: {'6.12': place('as-proposed/6.12')}},
    ])
    expect(one.kconfig).toBe(join(folder, 'one/extra.config'))
  })

  it.each<[string, string[], RegExp]>([
    ['a candidate without a folder', ['linux/revised/6.12/', 'extra.config'], /case\.yaml: candidate 'as-proposed': .*linux\/as-proposed holds no series: make a folder there for each version line, like 6\.12\/$/],
    ['a candidate whose folder has no line', ['linux/revised/6.12/', 'linux/as-proposed/0001-a.patch', 'extra.config'], /candidate 'as-proposed': .* holds no series/],
    ['a fragment that is not there', ['linux/revised/6.12/', 'linux/as-proposed/6.12/'], /case\.yaml: kconfig: .*one\/extra\.config is no file$/],
    ['a fragment that is a folder', ['linux/revised/6.12/', 'linux/as-proposed/6.12/', 'extra.config/'], /kconfig: .* is no file$/],
  ])('refuses %s', async (_, paths, sentence) => {
    await expect(loadCase('one', await candidatesWith(...paths))).rejects.toThrow(sentence)
  })

  it('has the candidate that is named, and the first where none is', async () => {
    const one = await loadCase('one', await candidatesWith('linux/revised/6.12/', 'linux/as-proposed/6.12/', 'extra.config'))
    expect(candidateOf(one).name).toBe('revised')
    expect(candidateOf(one, 'as-proposed').name).toBe('as-proposed')
    expect(() => candidateOf(one, 'input')).toThrow(new InputError("the case 'one' has no candidate 'input'; it has revised, as-proposed"))
    expect(() => candidateOf({...one, candidates: []}, 'input')).toThrow(new InputError("the case 'one' has no candidate"))
  })

  /** A folder whose case is about rulesets, with these files of them. */
  async function rulesetsWith(...files: string[]): Promise<string> {
    const folder = await folderWith(GOOD.replace('tree: linux', 'tree: ruleset') + CANDIDATES.replaceAll('patched:', 'ruleset:').replace(/kconfig.*\n/, ''))
    await mkdir(join(folder, 'one/ruleset'))
    for (const file of files) await writeFile(join(folder, 'one/ruleset', file), '')
    return folder
  }

  it('finds rulesets by their forms, for every kernel of the case', async () => {
    const both = ['nft', 'iptables'].flatMap((form) => [`base.${form}`, `revised.${form}`, `as-proposed.${form}`])
    const folder = await rulesetsWith(...both, 'revised.txt', 'another.nft')
    const one = await loadCase('one', folder)
    const files = (name: string) => ({nft: join(folder, 'one/ruleset', `${name}.nft`), iptables: join(folder, 'one/ruleset', `${name}.iptables`)})
    expect(one.baseRuleset).toEqual(files('base'))
    expect(one.candidates).toEqual([
      {name: 'revised', claims: ['one-copy'], expect: {ruleset: 'fixed'}, series: {}, ruleset: files('revised')},
      {name: 'as-proposed', claims: ['one-copy', 'two-copies'], expect: {ruleset: 'regressed'}, series: {}, ruleset: files('as-proposed')},
    ])
    expect(candidateVariant(one)).toBe('ruleset')
    expect(isForLine(one, one.candidates[0]!, '6.1')).toBe(true)
    expect(() => seriesFor(one.candidates[0]!, '6.1')).toThrow(new InputError('candidate revised is a ruleset and no series'))
  })

  it('finds variations of rulesets behind their forms, and no other files', async () => {
    const endings = ['nft', 'hardware.nft', 'open.nft']
    const names = ['base', 'revised', 'as-proposed']
    const folder = await rulesetsWith(...names.flatMap((name) => endings.map((ending) => `${name}.${ending}`)), 'base.a.b.nft', 'base..nft', 'base.hardware.txt')
    const one = await loadCase('one', folder)
    expect(Object.keys(one.baseRuleset!)).toEqual(endings)
    expect(one.candidates[0]!.ruleset).toEqual(Object.fromEntries(endings.map((ending) => [ending, join(folder, 'one/ruleset', `revised.${ending}`)])))
  })

  it.each<[string, string[], RegExp]>([
    ['nothing but a variation', ['base.hardware.nft'], /holds no ruleset of (?:base|revised|as-proposed): write/],
    ['a variation that base has not', ['base.nft', 'revised.nft', 'revised.open.nft', 'as-proposed.nft'], /its ruleset has the forms nft, open\.nft, and that of base nft/],
    ['no ruleset of base', ['revised.nft', 'as-proposed.nft'], /one\/ruleset holds no ruleset of base: write base\.nft there, or base\.iptables or base\.ip6tables$/],
    ['no ruleset of a candidate', ['base.nft', 'revised.nft'], /one\/ruleset holds no ruleset of as-proposed: write as-proposed\.nft there/],
    ['a form that base has not', ['base.nft', 'revised.nft', 'as-proposed.nft', 'as-proposed.iptables'], /candidate 'as-proposed': its ruleset has the forms nft, iptables, and that of base nft: give both the same$/],
    ['a form that only base has', ['base.nft', 'base.ip6tables', 'revised.nft', 'as-proposed.nft'], /candidate 'revised': its ruleset has the forms nft, and that of base nft, ip6tables/],
  ])('refuses a case with %s', async (_, files, sentence) => {
    await expect(loadCase('one', await rulesetsWith(...files))).rejects.toThrow(sentence)
  })

  /** A folder whose case is about firewall4, with these files of it. */
  async function firewall4With(firewall4: string, ...files: string[]): Promise<string> {
    const folder = await folderWith(GOOD.replace('tree: linux', 'tree: firewall4') + CANDIDATES.replaceAll('patched:', 'ruleset:').replace(/kconfig.*\n/, '') + firewall4)
    for (const file of files) {
      await mkdir(join(folder, 'one', dirname(file)), {recursive: true})
      await writeFile(join(folder, 'one', file), '')
    }
    return folder
  }
  const ROUTER = 'firewall4:\n  router: router\n  variations:\n    hardware: {flow_offloading_hw: 1}\n'
  const SERIES = ['firewall4/revised/master/0001-a.patch', 'firewall4/as-proposed/master/0001-a.patch']

  it('finds the series of firewall4, and the router that it describes', async () => {
    const folder = await firewall4With(ROUTER, 'router/uci/firewall.json', ...SERIES)
    const one = await loadCase('one', folder)
    expect(one.firewall4).toEqual({router: join(folder, 'one/router'), variations: {hardware: {flow_offloading_hw: '1'}}})
    expect(seriesFor(one.candidates[0]!, 'master')).toBe(join(folder, 'one/firewall4/revised/master'))
    expect(candidateVariant(one)).toBe('ruleset')
  })

  it.each<[string, string, string[], RegExp]>([
    ['firewall4 without a router', '', ['router/uci/firewall.json', ...SERIES], /describes a router: add firewall4: \{router: FOLDER\}$/],
    ['a router without a configuration', ROUTER, SERIES, /firewall4\.router: .*one\/router\/uci\/firewall\.json is no file/],
    ['a candidate of another branch', ROUTER, ['router/uci/firewall.json', SERIES[0]!, 'firewall4/as-proposed/23.05/0001-a.patch'], /as-proposed holds no series: make the folder master\/ there$/],
  ])('refuses %s', async (_, firewall4, files, sentence) => {
    await expect(loadCase('one', await firewall4With(firewall4, ...files))).rejects.toThrow(sentence)
  })

  it('takes a router for firewall4 alone', () => {
    expect(complaint(GOOD + ROUTER)).toBe('patches/one/case.yaml: firewall4: the case is of the tree linux')
  })

  it('keeps the name of base for base', () => {
    const text = GOOD.replace('tree: linux', 'tree: ruleset') + CANDIDATES.replaceAll('patched:', 'ruleset:').replace('name: revised', 'name: base')
    expect(complaint(text)).toBe("patches/one/case.yaml: no candidate can be called 'base', which is what candidates are compared with")
  })

  it('has the series of a line, or says for which there is one', async () => {
    const one = await loadCase('one', await candidatesWith('linux/revised/6.12/', 'linux/as-proposed/6.12/', 'extra.config'))
    expect(seriesFor(one.candidates[0]!, '6.12')).toMatch(/linux\/revised\/6\.12$/)
    expect(() => seriesFor(one.candidates[0]!, '7.2')).toThrow(new InputError('candidate revised has no series for 7.2, only for 6.12'))
    expect(isForLine(one, one.candidates[0]!, '7.2')).toBe(false)
  })

  it('names the reproducer that is missing', async () => {
    const folder = await folderWith(broken('reproduce.py', 'reproduce.sh'))
    await expect(loadCase('one', folder)).rejects.toThrow(/case\.yaml: reproducer\.program: .*reproduce\.sh is no file$/)
  })

  it('names the livepatch folder that is none', async () => {
    const folder = await folderWith(broken('source: livepatch', 'source: reproduce.py'))
    await expect(loadCase('one', folder)).rejects.toThrow(/case\.yaml: livepatch 'input': source: .*reproduce\.py is no folder$/)
  })

  it('that is not there is bad input', async () => {
    await expect(caseNames(join(await scratch(), 'nowhere'))).rejects.toBeInstanceOf(InputError)
  })
})

describe('the cases of patchbench', () => {
  it('are all sound', async () => {
    const names = await caseNames()
    expect(names).toContain('ipmr-loopback')
    for (const name of names) expect((await loadCase(name)).name).toBe(name)
  })
})
