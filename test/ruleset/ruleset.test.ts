import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type Case, loadCase} from '../../src/case/case.js'
import {CouldNotRun} from '../../src/lib/errors.js'
import {sha256} from '../../src/lib/hash.js'
import {projectPath} from '../../src/lib/project.js'
import {hasRulesets, keepRuleset, rulesetOf} from '../../src/ruleset/ruleset.js'
import {context} from '../support/machine.js'
import {scratch} from '../support/scratch.js'

const PORTS = async () => await loadCase('ports', projectPath('test/fixtures/rulesets'))

describe('the ruleset of a case', () => {
  it('is its own files, of base or of a candidate', async () => {
    const one = await PORTS()
    expect(hasRulesets(one)).toBe(true)
    expect(await rulesetOf(context, one)).toEqual({name: 'base', files: {nft: join(one.directory, 'ruleset/base.nft')}, notes: []})
    expect(await rulesetOf(context, one, one.candidates[0])).toEqual({name: 'opened', files: {nft: join(one.directory, 'ruleset/opened.nft')}, notes: []})
  })

  it('is none where it is about the kernel', () => {
    expect(hasRulesets({tree: 'linux'})).toBe(false)
  })

  it('cannot be had of a tree that nothing renders', async () => {
    const one: Case = {...(await PORTS()), tree: 'firewall4'}
    delete one.baseRuleset
    await expect(rulesetOf(context, one)).rejects.toThrow(CouldNotRun)
  })
})

describe('a kept ruleset', () => {
  it('is a copy under its name, form by form, that a later change does not reach', async () => {
    const folder = await scratch()
    const files = {nft: join(folder, 'a'), ip6tables: join(folder, 'b')}
    await writeFile(files.nft, 'table inet a {\n}\n')
    await writeFile(files.ip6tables, '*nat\nCOMMIT\n')
    const into = join(folder, 'run/rulesets')
    await mkdir(join(folder, 'run'))
    const kept = await keepRuleset({name: 'saved', files, notes: ['a note']}, into)
    await writeFile(files.nft, '')
    expect(kept).toEqual({
      name: 'saved',
      files: {nft: join(into, 'saved.nft'), ip6tables: join(into, 'saved.ip6tables')},
      sha256: {nft: sha256('table inet a {\n}\n'), ip6tables: sha256('*nat\nCOMMIT\n')},
      notes: ['a note'],
    })
    expect(await readFile(kept.files.nft!, 'utf8')).toBe('table inet a {\n}\n')
  })
})
