import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {readListFile} from '../../src/lib/listfile.js'
import {scratch} from '../support/scratch.js'

it('has an entry a line, without comments, blanks and empty lines', async () => {
  const file = join(await scratch(), 'list')
  await writeFile(file, '# what is needed\n\niproute2  # ip(8)\n  tcpdump\r\n#nftables\npython3-minimal')
  expect(await readListFile(file)).toEqual(['iproute2', 'tcpdump', 'python3-minimal'])
})

it('is empty when there are only comments', async () => {
  const file = join(await scratch(), 'list')
  await writeFile(file, '# nothing\n')
  expect(await readListFile(file)).toEqual([])
})
