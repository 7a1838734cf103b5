import {readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {checkOutSelftests, selftestsOf, testPrograms} from '../../src/tree/selftests.js'
import {repository} from '../support/repository.js'
import {scratch} from '../support/scratch.js'

const signal = new AbortController().signal
const NET = 'tools/testing/selftests/net'

describe('the selftests of a series', () => {
  const makefile = '# SPDX\nTEST_PROGS := \\\n\told.sh \\\n\tnew.sh \\\n# end of TEST_PROGS\nTEST_GEN_PROGS := compiled\nTEST_FILES := lib.sh\n'

  it('are those of its files that the Makefile names in TEST_PROGS', async () => {
    const repo = await repository({
      [`${NET}/Makefile`]: makefile,
      [`${NET}/netfilter/Makefile`]: 'TEST_PROGS += deep.sh # the last one\n',
      ...Object.fromEntries(['old.sh', 'new.sh', 'lib.sh', 'compiled.c', 'netfilter/deep.sh', 'bare/none.sh'].map((name) => [`${NET}/${name}`, '#!/bin/sh\n'])),
    })
    const paths = ['net/core/dev.c', ...['new.sh', 'lib.sh', 'compiled.c', 'Makefile', 'netfilter/deep.sh', 'bare/none.sh'].map((name) => `${NET}/${name}`)]
    expect(await selftestsOf(signal, repo.folder, 'HEAD', paths)).toEqual([
      {name: 'net', tests: ['new.sh']},
      {name: 'net/netfilter', tests: ['deep.sh']},
    ])
  })

  it('are none where no selftest is touched', async () => {
    const repo = await repository({[`${NET}/Makefile`]: makefile, 'net/core/dev.c': ''})
    expect(await selftestsOf(signal, repo.folder, 'HEAD', ['net/core/dev.c'])).toEqual([])
  })

  it('come with the scripts of their top folder and the runner, and no source in C', async () => {
    const names = ['kselftest/runner.sh', 'net/lib.sh', 'net/netfilter/deep.sh', 'net/compiled.c', 'net/compiled.h', 'bpf/other.sh', 'kselftest_harness.h']
    const repo = await repository(Object.fromEntries(names.map((name) => [`tools/testing/selftests/${name}`, `${name}\n`])))
    const into = await scratch()
    await checkOutSelftests(signal, repo.folder, 'HEAD', [{name: 'net/netfilter', tests: ['deep.sh']}], into)
    const folder = join(into, 'tools/testing/selftests')
    expect((await readdir(folder, {recursive: true, withFileTypes: true})).filter((entry) => entry.isFile()).map(({name}) => name).sort()).toEqual(['deep.sh', 'lib.sh', 'runner.sh'])
    expect(await readFile(join(folder, 'net/lib.sh'), 'utf8')).toBe('net/lib.sh\n')
  })
})

it("a Makefile's programs are read over its lines", () => {
  expect(testPrograms('TEST_PROGS := a.sh \\\n  b.sh\nTEST_PROGS += c.sh\nTEST_PROGS_EXTENDED := no.sh\nOTHER_TEST_PROGS := no.sh\n')).toEqual(['a.sh', 'b.sh', 'c.sh'])
  expect(testPrograms('TEST_FILES := a.sh\n')).toEqual([])
})
