import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {hostsFile, hostsOf, parseHosts} from '../../src/deploy/hosts.js'
import {scratch} from '../support/scratch.js'

const GOOD = 'schema: 1\ngroups:\n  lab: [root@lab1, root@lab2]\n  edge: [root@edge]\n'

async function file(text: string): Promise<string> {
  const path = join(await scratch(), 'hosts.yaml')
  await writeFile(path, text)
  return path
}

it('a group is its hosts, each once and in order', async () => {
  expect(await hostsOf(['edge', 'lab', 'root@lab1', 'root@other'], await file(GOOD))).toEqual(['root@edge', 'root@lab1', 'root@lab2', 'root@other'])
})

it.each([
  ['a group without hosts', GOOD.replace('[root@edge]', '[]'), /groups\.edge: expected at least one host; write/],
  ['another key', `${GOOD}hosts: []\n`, /Unrecognized key: "hosts"/],
  ['no YAML', 'groups: [', /hosts\.yaml: /],
  ['no schema', 'groups: {}\n', /schema: /],
])('a hosts file with %s is refused', (_, text, message) => {
  expect(() => parseHosts(text, 'hosts.yaml')).toThrow(message)
})

it('a name that ssh would take for an option is refused, also in a file', async () => {
  await expect(hostsOf(['lab'], await file(GOOD.replace('root@lab2', '-oProxyCommand=x')))).rejects.toThrow("'-oProxyCommand=x' is no host")
})

it('a file that was named has to be there; the user need not have one', async () => {
  await expect(hostsOf(['lab'], '/nowhere/hosts.yaml')).rejects.toThrow('ENOENT')
  expect(hostsFile({XDG_CONFIG_HOME: '/x'})).toBe('/x/patchbench/hosts.yaml')
})
