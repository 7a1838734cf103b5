import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {builtKernel, FRAGMENTS} from '../../src/kernel/built.js'
import {readFragments} from '../../src/kernel/fragment.js'
import {bubblewrap} from '../../src/lib/confine.js'
import {projectPath} from '../../src/lib/project.js'
import {patchedWith} from '../../src/run/patched.js'
import {sourceTree} from '../../src/tree/source.js'
import {repository} from '../support/repository.js'
import {NO_SANDBOX} from '../support/sandbox.js'
import {contextIn, scratch} from '../support/scratch.js'

// As much of a kernel's Makefile as our builds ask for.
const MAKEFILE = `VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 7
EXTRAVERSION =
allnoconfig:
	cp build/asked.config build/.config
	printf 'all: ;\\n' > build/Makefile
bzImage modules:
	mkdir -p build/arch/x86/boot
	cat net.c > build/vmlinux
	cp build/vmlinux build/arch/x86/boot/bzImage
modules_install:
	mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.12.7-patchbench
`

/** The options that a kernel has to have for us to build it. */
async function kconfig(): Promise<string> {
  const asked = await readFragments(FRAGMENTS.map((name) => projectPath('kconfigs', `${name}.config`)))
  return asked.map(({symbol}) => `config ${symbol}\n`).join('')
}

describe.skipIf(NO_SANDBOX)(`a stranger's patch ${NO_SANDBOX}`, () => {
  it('whose Makefile writes to $HOME and reads from it builds a kernel, and does neither', {timeout: 120_000}, async () => {
    const home = await scratch()
    await writeFile(join(home, 'secret'), 'a key of mine\n')
    const repo = await repository({Makefile: MAKEFILE, Kbuild: '', Kconfig: await kconfig(), 'net.c': 'base\n'})
    const bad = `\t-echo mine > ${home}/left; echo mine > $$HOME/left\n\t-cat ${home}/secret >> build/arch/x86/boot/bzImage\n`
    const series = await repo.series([{Makefile: MAKEFILE.replace('modules_install:', `${bad}modules_install:`), 'net.c': 'patched\n'}])
    const context = contextIn(join(await scratch(), 'cache'))
    await mkdir(context.cache)
    const confined = {...context, confine: await bubblewrap(context.signal)}
    const before = process.env.HOME
    process.env.HOME = home
    try {
      const source = await sourceTree(confined, {tree: 'linux', from: repo.folder})
      const base = await builtKernel(confined, source)
      const {kernel} = await patchedWith(confined, {name: 'bad', claims: [], series: {'6.12': series}, expect: {patched: 'fixed'}}, base)
      const {vmlinuz} = await kernel.image(confined)
      expect(await readFile(vmlinuz, 'utf8')).toBe('patched\n')
    } finally {
      process.env.HOME = before
    }
    expect(await readdir(home)).toEqual(['secret'])
  })
})
