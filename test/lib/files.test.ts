import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {describeSystemError} from '../../src/lib/errors.js'
import {makeUnfinished} from '../../src/lib/files.js'
import {scratch} from '../support/scratch.js'

describe('a folder for what is not finished', () => {
  const refusal = async (prefix: string, named: string) => describeSystemError(await makeUnfinished(prefix, named).catch((error: unknown) => error))

  it('is made', async () => {
    const prefix = join(await scratch(), '.x-')
    expect((await makeUnfinished(prefix, 'x')).startsWith(prefix)).toBe(true)
  })

  it('that cannot be made is told by what the user named', async () => {
    expect(await refusal('/proc/.x-', '/proc/x')).toBe('/proc/x cannot be used (mkdir): that is not permitted there')
    expect(await refusal(join(await scratch(), 'gone/.x-'), 'gone/x')).toBe('gone/x cannot be used (mkdir): there is no such file or folder')
  })
})
