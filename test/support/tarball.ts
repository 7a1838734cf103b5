import {execa} from 'execa'
import {mkdir, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {scratch} from './scratch.js'

/** The least that passes for a kernel's tree. */
export const LINUX = {
  Makefile: '# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 7\nEXTRAVERSION =\nNAME = A name\n',
  Kbuild: '# what is built\n',
}

/** A folder with files. */
export async function folderOf(files: Record<string, string | Buffer>): Promise<string> {
  const folder = await scratch()
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), {recursive: true})
    await writeFile(join(folder, path), content)
  }
  return folder
}

/** A folder's content as a tarball, whose name says how it is compressed. */
export async function tarballOf(folder: string, name = 'linux.tar.gz'): Promise<string> {
  const place = join(await scratch(), name)
  await execa('tar', ['--create', '--auto-compress', '--force-local', '--file', place, '--directory', folder, '.'])
  return place
}
