import {execa} from 'execa'
import {symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {packJob} from '../../src/machine/job.js'
import {scratch} from '../support/scratch.js'

it('a job has the file that a link leads to, not the link', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'real'), '#!/bin/sh\n', {mode: 0o755})
  await symlink('real', join(folder, 'reproduce'))
  const job = await packJob({steps: [], files: {reproducer: join(folder, 'reproduce')}})
  const archive = job.subarray(job.indexOf('\n') + 1)
  const {stdout} = await execa('tar', ['--extract', '--to-stdout', './reproducer'], {input: archive})
  expect(stdout).toBe('#!/bin/sh')
})
