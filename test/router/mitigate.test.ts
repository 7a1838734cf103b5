import {execa} from 'execa'
import {chmod, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {TEMPLATE} from '../../src/router/guard.js'
import {LOOK} from '../../src/router/mitigate.js'
import {scratch} from '../support/scratch.js'

it.each<[has: string[], missing: string[]]>([
  [[], ['fw4', 'nft', TEMPLATE]],
  [['nft'], ['fw4', TEMPLATE]],
  [['fw4', 'nft'], [TEMPLATE]],
])('of a router that has %j, what is missing is named', async (has, missing) => {
  const bin = await scratch()
  for (const program of has) {
    await writeFile(join(bin, program), '#!/bin/sh\n')
    await chmod(join(bin, program), 0o755)
  }
  const {stdout} = await execa('/bin/sh', ['-c', LOOK], {env: {PATH: bin}, extendEnv: false})
  expect(stdout.split('\n')).toEqual(missing)
})
