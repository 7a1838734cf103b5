import {copyFile, cp, mkdir, readFile, symlink, unlink, writeFile} from 'node:fs/promises'
import {createReadStream, createWriteStream} from 'node:fs'
import {basename, dirname, join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {type KernelImage} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {run} from '../lib/process.js'
import {projectPath} from '../lib/project.js'
import {type GuestRoot} from './root.js'

/** Modules by name: what a case cannot do without, and what is loaded where the kernel has it. */
export type WantedModules = {required: readonly string[]; optional: readonly string[]}

/**
 * Writes what the machine boots with, three newc archives in one file
 * (Documentation/driver-api/early-userspace/buffer-format.rst): the root, the
 * kernel's modules that are needed, and vm/.
 */
export async function writeInitramfs(
  context: Context,
  parts: {root: GuestRoot; image: KernelImage; release: string; modules: WantedModules},
  scratch: string,
): Promise<string> {
  const tree = join(scratch, 'tree')
  await mkdir(join(tree, 'patchbench'), {recursive: true})
  const loaded = await packModules(context, parts, tree)
  await writeFile(join(tree, 'patchbench/modules'), loaded.map((name) => `${name}\n`).join(''))
  await copyFile(projectPath('vm/init'), join(tree, 'init'))
  await copyFile(projectPath('vm/agent.py'), join(tree, 'patchbench/agent.py'))
  await cp(projectPath('vm/lib'), join(tree, 'patchbench/lib'), {
    recursive: true,
    filter: (path) => basename(path) !== '__pycache__',
  })
  return await joinInitramfs(context, parts.root, tree, scratch)
}

/** A root with a tree of ours over it, as one file. */
export async function joinInitramfs(context: Context, root: GuestRoot, tree: string, scratch: string): Promise<string> {
  const own = join(scratch, 'own.cpio')
  await run('bsdtar', ['-cf', own, '--format=newc', '--uid', '0', '--gid', '0', '-C', tree, '.'], {signal: context.signal})
  const whole = join(scratch, 'initramfs.cpio')
  await copyFile(root.cpio, whole)
  await pipeline(createReadStream(own), createWriteStream(whole, {flags: 'a'}), {signal: context.signal})
  return whole
}

/** Copies the wanted modules and what they depend on; the names that have to be loaded. */
export async function packModules(
  context: Context,
  {image, release, modules}: {image: KernelImage; release: string; modules: WantedModules},
  tree: string,
): Promise<string[]> {
  const dependencies = parseModulesDep(await readFile(join(image.modules, 'modules.dep'), 'utf8'))
  const builtIn = new Set((await readFile(join(image.modules, 'modules.builtin'), 'utf8')).split('\n').map(moduleName))
  const target = join(tree, 'usr/lib/modules', release)
  await mkdir(target, {recursive: true})
  const wanted = [...new Set([...modules.required, ...modules.optional])]
  const {paths, unknown} = closure(wanted, dependencies, builtIn)
  const missing = unknown.filter((name) => modules.required.includes(name))
  if (missing.length > 0) throw new InputError(`kernel ${release} has no module ${missing.join(', ')}: neither a file nor built in`)
  for (const path of paths) {
    await mkdir(join(target, dirname(path)), {recursive: true})
    await copyFile(join(image.modules, path), join(target, path))
    // Decompressing here costs nothing; in the guest, under TCG, it does.
    if (path.endsWith('.xz')) await run('xz', ['--decompress', join(target, path)], {signal: context.signal})
    if (path.endsWith('.zst')) await run('zstd', ['--quiet', '--decompress', '--rm', join(target, path)], {signal: context.signal})
  }
  for (const list of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
    await copyFile(join(image.modules, list), join(target, list))
  }
  // depmod looks in lib/, which the root has as a link to usr/lib.
  await symlink('usr/lib', join(tree, 'lib'))
  await run('depmod', ['--basedir', tree, release], {signal: context.signal})
  await unlink(join(tree, 'lib'))
  return wanted.filter((name) => !unknown.includes(name) && !builtIn.has(moduleName(name)))
}

/** modules.dep(5): the files that each module file needs, by path. */
export function parseModulesDep(text: string): Map<string, string[]> {
  const dependencies = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [path, needs] = line.split(':')
    if (path && needs !== undefined) dependencies.set(path, needs.trim().split(/\s+/).filter(Boolean))
  }
  return dependencies
}

/** The module files that some modules amount to, and the names that are neither a file nor built in. */
export function closure(
  wanted: readonly string[],
  dependencies: ReadonlyMap<string, string[]>,
  builtIn: ReadonlySet<string>,
): {paths: string[]; unknown: string[]} {
  const byName = new Map([...dependencies.keys()].map((path) => [moduleName(path), path]))
  const paths = new Set<string>()
  const unknown: string[] = []
  for (const name of wanted) {
    const path = byName.get(moduleName(name))
    if (path) for (const file of [path, ...dependencies.get(path)!]) paths.add(file)
    else if (!builtIn.has(moduleName(name))) unknown.push(name)
  }
  return {paths: [...paths].sort(), unknown}
}

/** A module's name as the kernel writes it: `nf_tables` of `kernel/net/netfilter/nf-tables.ko.xz`. */
function moduleName(path: string): string {
  return basename(path).replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_')
}
