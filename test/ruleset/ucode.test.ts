import {copyFile, mkdir, readdir, realpath, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {bubblewrap} from '../../src/lib/confine.js'
import {runWithUcode} from '../../src/ruleset/ucode.js'
import {NO_SANDBOX} from '../support/sandbox.js'
import {contextIn, scratch} from '../support/scratch.js'

/** A home with a key in it, a folder to work in, and a program in a folder of its own beside other files. */
async function places(): Promise<{home: string; folder: string; ucode: {path: string; files: Record<string, string>}}> {
  const top = await realpath(await scratch())
  for (const name of ['home', 'folder', 'prefix']) await mkdir(join(top, name))
  await writeFile(join(top, 'home/secret'), 'a key of mine\n')
  await writeFile(join(top, 'prefix/notes'), 'no part of the program\n')
  const path = join(top, 'prefix/ucode.so.0.0')
  await copyFile('/bin/cat', path)
  await symlink('ucode.so.0.0', join(top, 'prefix/ucode.so.0'))
  return {home: join(top, 'home'), folder: join(top, 'folder'), ucode: {path, files: {[path]: '', [await realpath('/bin/cat')]: ''}}}
}

describe.skipIf(NO_SANDBOX)(`what is run with ucode for a stranger ${NO_SANDBOX}`, () => {
  it('writes to its folder, sees ucode under all of its names, and nothing else', async () => {
    const {home, folder, ucode} = await places()
    const context = {...contextIn(home), confine: await bubblewrap(contextIn(home).signal)}
    const script = `echo done > left; echo mine > ${home}/left; echo mine > $HOME/left; ${ucode.path} ${home}/secret; ls ${join(ucode.path, '..')}; ls /sys/class/net`
    const {stdout, stderr} = await runWithUcode(context, ucode, 'sh', ['-c', script], folder, {cwd: folder})
    expect(stdout).toBe('ucode.so.0\nucode.so.0.0')
    expect(stderr).toMatch(/secret: No such file/)
    expect([await readdir(folder), await readdir(home)]).toEqual([['left'], ['secret']])
  })

  it('leaves no link out of its folder, except to ucode', async () => {
    const {home, folder, ucode} = await places()
    const context = {...contextIn(home), confine: await bubblewrap(contextIn(home).signal)}
    await runWithUcode(context, ucode, 'ln', ['-s', ucode.path, 'fine'], folder, {cwd: folder})
    await expect(runWithUcode(context, ucode, 'ln', ['-s', home, 'out'], folder, {cwd: folder})).rejects.toThrow(/which is a link to .*home, outside its folders/)
  })
})
