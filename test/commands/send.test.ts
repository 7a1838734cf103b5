import {expect, it} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {commandsFor} from '../../src/commands/send.js'

const LINUX = {name: 'one', tree: 'linux'} as Case
const RULES = {...LINUX, tree: 'firewall4'} as Case
const OWNER = {candidate: 'fix', line: '6.12'}

it.each([
  [LINUX, {hasUcode: false}, 'patchbench compare one --candidate fix --variant base,patched --kernel 6.12'],
  [LINUX, {hasUcode: false, source: '../linux', base: 'v6.12'}, 'patchbench compare one --candidate fix --variant base,patched --source ../linux --base v6.12'],
  [RULES, {hasUcode: true, source: '../fw4'}, 'patchbench compare one --candidate fix --variant base,ruleset --source ../fw4'],
  [RULES, {hasUcode: false, source: '../fw4'}, 'patchbench compare one --candidate fix --variant base,ruleset --source ../fw4 --ucode PATH'],
])('%#: the command that compares a series is whole', (one, options, command) => {
  expect(commandsFor(one, OWNER, options).compare).toBe(command)
})
