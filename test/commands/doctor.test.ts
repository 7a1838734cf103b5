import {chmod, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {version} from '../../src/commands/doctor.js'
import {findProgram} from '../../src/lib/hostpath.js'
import {scratch} from '../support/scratch.js'

const signal = new AbortController().signal

it.each([
  ['ssh', /^OpenSSH_\d/],
  ['git', /^git version \d/],
  ['perl', /^This is perl /],
  ['zstd', /^(?:Z|zstd).* v?\d.*[^*]$/i],
])('the version of %s is said in its own words, without the rest of its page', async (name, words) => {
  expect(await version({signal}, (await findProgram(name))!)).toMatch(words)
})

it('stars around a version are left out', async () => {
  const path = join(await scratch(), 'starred')
  await writeFile(path, '#!/bin/sh\necho "*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***"\n')
  await chmod(path, 0o755)
  expect(await version({signal}, path)).toBe('Zstandard CLI (64-bit) v1.5.4, by Yann Collet')
})
