import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {autoconf, includeFolders, writeChangedHeaders} from '../../src/kernel/include.js'
import {repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'

describe('the headers that a series changes', () => {
  it('are those that differ or are new, as the series leaves them, and the configuration', async () => {
    const repo = await repository({'include/net/a.h': 'a\n', 'include/net/b.h': 'b\n', 'arch/x86/include/asm/c.h': 'c\n', 'include/gone.h': 'd\n', 'net/e.c': 'e\n'})
    const from = await repo.git('rev-parse', 'HEAD')
    const to = await repo.commit({'include/net/a.h': 'A\n', 'include/uapi/new.h': 'new\n', 'arch/x86/include/asm/c.h': 'C\n', 'net/e.c': 'E\n', 'tools/include/f.h': 'f\n'})
    const folder = await scratch()
    const config = join(folder, 'config')
    await writeFile(config, 'CONFIG_NET=y\n')
    const into = join(folder, 'into')
    await mkdir(into)
    await writeChangedHeaders(contextIn('/nowhere'), {directory: repo.folder, from, to}, config, into)
    const files = (await readdir(into, {recursive: true, withFileTypes: true})).filter((entry) => entry.isFile()).map(({parentPath, name}) => join(parentPath, name).slice(into.length + 1))
    expect(files.sort()).toEqual(['arch/x86/include/asm/c.h', 'include/generated/autoconf.h', 'include/net/a.h', 'include/uapi/new.h'])
    expect(await readFile(join(into, 'include/net/a.h'), 'utf8')).toBe('A\n')
    expect(await readFile(join(into, 'include/generated/autoconf.h'), 'utf8')).toBe('#define CONFIG_NET 1\n')
    expect(includeFolders(into)).toContain(join(into, 'include/uapi'))
  })
})

it('a configuration becomes C as kconfig writes it', () => {
  expect(autoconf('# a comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="a b"\nCONFIG_E=0x10\nCONFIG_F=250\n')).toBe(
    '#define CONFIG_A 1\n#define CONFIG_B_MODULE 1\n#define CONFIG_D "a b"\n#define CONFIG_E 0x10\n#define CONFIG_F 250\n',
  )
})
