import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {caseNames} from '../../src/case/case.js'
import {casesFolder, ownCases} from '../../src/case/folder.js'
import {projectPath} from '../../src/lib/project.js'
import {complaint} from '../support/complaint.js'
import {scratch} from '../support/scratch.js'

async function folderWith(settings: string): Promise<string> {
  const folder = await scratch()
  await writeFile(join(folder, 'patchbench.yaml'), settings)
  await mkdir(join(folder, 'a/b'), {recursive: true})
  return folder
}

describe('the folder of cases', () => {
  it('is said to be missing, not by a code', async () => {
    const folder = await folderWith('')
    expect(await complaint(caseNames(join(folder, 'none')))).toMatch(/none is not there: say another with --cases$/)
    expect(await complaint(caseNames(join(folder, 'patchbench.yaml')))).toMatch(/is a file: say another with --cases$/)
  })

  it('is that of the nearest patchbench.yaml above', async () => {
    const folder = await folderWith('cases: mine\n')
    expect(await casesFolder(join(folder, 'a/b'))).toBe(join(folder, 'mine'))
    await writeFile(join(folder, 'a/patchbench.yaml'), '')
    expect(await casesFolder(join(folder, 'a/b'))).toBe(join(folder, 'a'))
    expect(await ownCases(folder)).toBe(join(folder, 'mine'))
  })

  it('is the own patches/ where there is none', async () => {
    expect(await casesFolder(await scratch())).toBe(projectPath('patches'))
    expect(await caseNames()).toContain('ipmr-loopback')
  })

  it.each([
    ['case: mine\n', /patchbench\.yaml: the file: .*case.*; it may say 'cases: FOLDER'$/],
    ['cases: [a]\n', /patchbench\.yaml: cases: .*expected string/],
    ['cases: ]\n', /patchbench\.yaml: /],
  ])('is not guessed where the file is wrong: %j', async (settings, sentence) => {
    expect(await complaint(casesFolder(await folderWith(settings)))).toMatch(sentence)
  })
})
