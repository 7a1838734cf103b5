import {readdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {caseNames, loadCase} from '../../src/case/case.js'
import {projectPath} from '../../src/lib/project.js'
import {copyCase} from '../../src/run/casecopy.js'
import {copyOfCase, scratch} from '../support/patchbench.js'

const PATCHES = projectPath('patches')
const NAMES = await caseNames(PATCHES)

/** A case without the places of its files. */
function unplaced(one: unknown): unknown {
  return JSON.parse(JSON.stringify(one), (key, value: unknown) => {
    if (typeof value !== 'string' || !value.startsWith('/')) return value
    return key === 'directory' ? '' : value.split('/').at(-1)
  })
}

describe('a copy of a case', () => {
  it.each(NAMES)('%s is the case, with all its files in its folder', async (name) => {
    const one = await loadCase(name, PATCHES)
    const folder = await scratch()
    await copyCase(one, folder)
    const copy = await loadCase(name, folder)
    // The folder of a livepatch has the fix's name there.
    const named = (source: typeof one) => ({...source, firewall4: undefined, kconfig: source.kconfig && 'set', livepatches: source.livepatches.map((fix) => ({...fix, source: ''}))})
    expect(unplaced(named(copy))).toEqual(unplaced(named(one)))
    const places = JSON.stringify(copy).match(/"\/[^"]*"/g)!.map((place) => place.slice(1, -1))
    expect(places.filter((place) => !place.startsWith(join(folder, name)))).toEqual([])
  })

  it('has nothing of what else is beside case.yaml, and is whole when only some fixes were run', async () => {
    const cases = await copyOfCase('vrf-lookup')
    await writeFile(join(cases, 'vrf-lookup/secret'), 'a key of mine\n')
    const one = await loadCase('vrf-lookup', cases)
    const folder = await scratch()
    await copyCase({...one, candidates: [], livepatches: []}, folder)
    expect((await readdir(join(folder, 'vrf-lookup'))).sort()).toEqual(['README.md', 'case.yaml', 'linux', 'livepatch', 'reproducer'])
    expect((await loadCase('vrf-lookup', folder)).candidates).toHaveLength(one.candidates.length)
  })
})
