import {expect, it} from 'vitest'
import {sourcesOf} from '../../src/lib/apt.js'

const SECURITY = {site: 'http://archive/debian-security', release: 'bookworm-security', component: 'main'}
const MAIN = {site: 'http://archive/debian', release: 'bookworm', component: 'contrib'}

it("finds another suite where the machine's own is, not where its security updates are", () => {
  expect(sourcesOf('unstable', [SECURITY, MAIN], 'bookworm')).toEqual([{site: 'http://archive/debian', release: 'unstable', component: 'main'}])
})

it('cannot find one without a source of the suite itself', () => {
  expect(() => sourcesOf('unstable', [SECURITY], 'bookworm')).toThrow('apt on this machine has no source for bookworm itself')
})
