import {expect, it} from 'vitest'
import {optionsOf} from '../../src/tree/options.js'
import {repository} from '../support/repository.js'

it('options are those that a Kconfig file of the commit has', async () => {
  const repo = await repository({Kconfig: 'config A\n\tbool\n', 'net/Kconfig.more': 'menuconfig B\n  config C\n# config D\n', 'net/c.c': 'config E\n', 'scripts/kconfig/tests/one/Kconfig': 'config F\n'})
  const commit = await repo.git('rev-parse', 'HEAD')
  await repo.commit({Kconfig: 'config LATER\n'})
  const known = await optionsOf(new AbortController().signal, {directory: repo.folder, commit}, ['A', 'B', 'C', 'D', 'E', 'F', 'AB', 'LATER'])
  expect([...known].sort()).toEqual(['A', 'B', 'C'])
})
