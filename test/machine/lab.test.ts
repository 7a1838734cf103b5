import {execa} from 'execa'
import {expect, it} from 'vitest'
import {projectPath} from '../../src/lib/project.js'

it.each([
  // The example of RFC 1071, section 3.
  ['0001f203f4f5f6f7', '220d'],
  // An odd length is as if a zero byte followed.
  ['0001f203f4f5f6', '2304'],
  ['0001f203f4f5f600', '2304'],
  ['', 'ffff'],
])("the lab's checksum of %j", async (data, sum) => {
  const program = 'import sys; from lab import internet_checksum; print("%04x" % internet_checksum(bytes.fromhex(sys.argv[1])))'
  const {stdout} = await execa('python3', ['-B', '-c', program, data], {env: {PYTHONPATH: projectPath('vm/lib')}})
  expect(stdout).toBe(sum)
})
