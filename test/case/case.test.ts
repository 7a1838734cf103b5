import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {caseNames, livepatchOf, loadCase, parseCase} from '../../src/case/case.js'
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

describe('a bad case.yaml is refused with file, line, key and expectation:', () => {
  it.each<[what: string, text: () => string, place: string, words: string[]]>([
    ['bad YAML', () => broken('title: a packet is lost', 'title: a packet: lost'), ':2', ['mappings']],
    ['a key written twice', () => broken('tree: linux', 'title: again'), ':3', ['unique']],
    ['an unknown key', () => broken('    module: livepatch_one', '    module: livepatch_one\n    modul: x'), ':24', ['livepatches.0', "'modul'", 'no key']],
    ['an unknown key at the top', () => `${GOOD}kernel: 6.1\n`, ':30', ["'kernel'", 'no key']],
    ['another schema', () => broken('schema: 1', 'schema: 2'), ':1', ['schema: ', '1']],
    ['a tree that is none', () => broken('tree: linux', 'tree: bsd'), ':3', ['tree: ', '"linux"|"firewall4"']],
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
