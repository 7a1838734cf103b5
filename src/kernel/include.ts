import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {checkOut} from '../tree/checkout.js'
import {changedPaths} from './copy.js'

/** Where a kernel's headers are, in the order in which its own Makefile looks (LINUXINCLUDE). */
const FOLDERS = ['arch/x86/include', 'arch/x86/include/uapi', 'include', 'include/uapi'] as const

/** A source tree's repository, its commit, and one with a series on it. */
export type Change = {directory: string; from: string; to: string}

/**
 * Writes the headers that a series changes into a folder, and the configuration
 * that its kernel was built with: before base's own headers, they are the
 * patched tree's, of which nothing else is kept.
 *
 * @param config the patched kernel's .config
 */
export async function writeChangedHeaders(context: Context, {directory, from, to}: Change, config: string, into: string): Promise<void> {
  const changed = await changedPaths(context.signal, directory, from, to)
  const headers = changed.filter((path) => FOLDERS.some((folder) => path.startsWith(`${folder}/`)))
  await checkOut(context.signal, directory, to, into, headers)
  await mkdir(join(into, 'include/generated'), {recursive: true})
  await writeFile(join(into, 'include/generated/autoconf.h'), autoconf(await readFile(config, 'utf8')))
}

/** The folders of such a folder to look in first. */
export function includeFolders(changed: string): string[] {
  return FOLDERS.map((folder) => join(changed, folder))
}

/** A .config as C (scripts/kconfig/confdata.c, conf_write_autoconf). */
export function autoconf(config: string): string {
  const defines = [...config.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name, value]) => {
    if (value === 'y') return `#define ${name} 1`
    return value === 'm' ? `#define ${name}_MODULE 1` : `#define ${name} ${value}`
  })
  return `${defines.join('\n')}\n`
}
