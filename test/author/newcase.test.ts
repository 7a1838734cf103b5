import {chmod, mkdir, readdir, readFile, stat, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {caseFiles} from '../../src/author/casefiles.js'
import {checkNewName, homeOfNewCase, slug, writeCase} from '../../src/author/newcase.js'
import {loadCase} from '../../src/case/case.js'
import {parseFragment} from '../../src/kernel/fragment.js'
import {projectPath} from '../../src/lib/project.js'
import {complaint} from '../support/complaint.js'
import {scratch} from '../support/scratch.js'

const PLAIN = {title: 'a packet is lost', tree: 'linux', kernels: ['6.1', '6.12']} as const

describe('a new case', () => {
  it('is one that can be read, with one symptom and one control', async () => {
    const cases = await scratch()
    const folder = await writeCase({cases}, 'mine', await caseFiles('mine', PLAIN))
    expect(await loadCase('mine', cases)).toMatchObject({title: 'a packet is lost', kernels: ['6.1', '6.12'], symptoms: [{name: 'symptom'}], controls: [{name: 'control'}], candidates: []})
    expect((await stat(join(folder, 'reproduce'))).mode & 0o111).not.toBe(0)
    expect((await readdir(folder)).sort()).toEqual(['README.md', 'case.yaml', 'reproduce'])
    expect(await readdir(cases)).toEqual(['mine'])
  })

  it('has its series, the base that is stated, and the options that kernels lack', async () => {
    const cases = await scratch()
    const base = '0123456789'.repeat(4)
    const files = await caseFiles('mine', {...PLAIN, kernels: ['6.12'], candidate: 'a-fix', base, options: [{symbol: 'IP_MROUTE', path: 'net/ipv4/ipmr.c'}, {symbol: 'A', path: 'a.c'}], modules: ['sch_fq']})
    await writeCase({cases}, 'mine', {...files, 'linux/a-fix/6.12/0001-x.patch': {content: 'x'}})
    const one = await loadCase('mine', cases)
    expect(one.candidates).toMatchObject([{name: 'a-fix', base, expect: {patched: 'fixed'}, claims: ['symptom']}])
    expect(parseFragment(await readFile(one.kconfig!, 'utf8'), 'x').map(({symbol, value}) => `${symbol}=${value}`)).toEqual(['IP_MROUTE=y', 'A=y'])
    expect(await readFile(join(cases, 'mine/case.yaml'), 'utf8')).toContain('sch_fq')
  })

  it.each(['"quoted" \'too\'', 'a: b # c', '\u001b[31mred\u001b[0m {{title}}', '"""; import os', '- x', 'back\\slash', 'new\nline'])('may have any title: %j', async (title) => {
    const cases = await scratch()
    await writeCase({cases}, 'mine', await caseFiles('mine', {...PLAIN, title, story: title}))
    expect((await loadCase('mine', cases)).title).toBe(title.replace(/\u001b\[\d+m/g, '').replace('\n', ' '))
    const [first, second] = (await readFile(join(cases, 'mine/reproduce'), 'utf8')).split('\n')
    expect(first).toBe('#!/usr/bin/python3')
    expect(second!.slice(3)).not.toMatch(/["\\\u001b]/)
  })

  it('overwrites nothing', async () => {
    const cases = await scratch()
    await mkdir(join(cases, 'mine'))
    expect(await complaint(checkNewName({cases}, 'mine'))).toMatch(/mine is there already, and nothing is overwritten: take another name, or remove it$/)
    await writeFile(join(cases, 'file'), 'mine')
    expect(await complaint(writeCase({cases}, 'file', await caseFiles('file', PLAIN)))).toMatch(/is there already/)
    expect(await readFile(join(cases, 'file'), 'utf8')).toBe('mine')
    expect((await readdir(cases)).sort()).toEqual(['file', 'mine'])
  })

  it.each(['../x', 'A', '', '.x', 'a/b', '-x'])('cannot be called %j', async (name) => {
    expect(await complaint(checkNewName({cases: await scratch()}, name))).toMatch(/is no name for a case/)
  })

  it('that cannot be written leaves nothing', async () => {
    const cases = await scratch()
    await chmod(cases, 0o700)
    await expect(writeCase({cases}, 'mine', {a: {content: 'x'}, 'a/b': {content: 'y'}})).rejects.toThrow()
    expect(await readdir(cases)).toEqual([])
  })
})

describe('a new case goes', () => {
  it('where it is told to', async () => {
    expect(await homeOfNewCase('/else/where')).toEqual({cases: '/else/where'})
  })

  it('to the folder of patchbench.yaml', async () => {
    const folder = await scratch()
    await writeFile(join(folder, 'patchbench.yaml'), 'cases: mine\n')
    expect(await homeOfNewCase(undefined, folder)).toEqual({cases: join(folder, 'mine')})
  })

  it('to patches/ in the project', async () => {
    expect(await homeOfNewCase(undefined, projectPath('src'))).toEqual({cases: projectPath('patches')})
  })

  it('to the working folder, which is found again by the patchbench.yaml that is made', async () => {
    const folder = await scratch()
    const home = await homeOfNewCase(undefined, folder)
    await writeCase(home, 'mine', await caseFiles('mine', PLAIN))
    expect(await homeOfNewCase(undefined, join(folder, 'mine'))).toEqual({cases: folder})
  })
})

it.each([
  ['ipmr: do not drop GSO packets (v2)', 'ipmr-do-not-drop-gso-packets-v2'],
  ['  Ünïcode  ', 'unicode'],
  ['a'.repeat(30) + ' ' + 'b'.repeat(30), 'a'.repeat(30)],
  ['§§', ''],
])('a name of %j is %j', (text, name) => {
  expect(slug(text)).toBe(name)
})
