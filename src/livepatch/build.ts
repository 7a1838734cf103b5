import Handlebars from 'handlebars'
import {copyFile, mkdir, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import {type Livepatch} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {compilerVersion, firstError} from '../kernel/make.js'
import {artefact} from '../lib/cache.js'
import {runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {keyOf, sha256, sha256File} from '../lib/hash.js'
import {projectPath} from '../lib/project.js'

export type LivepatchModule = {path: string; sha256: string}

/** What make gets to build a livepatch's module. */
export type Sources = {
  /** SHA-256 of the files of the livepatch's source folder, by name. */
  files: Record<string, string>
  kbuild: string
  /** The module's file as make leaves it. */
  made: string
}

/** Whether pahole is installed must not change the module; livepatches need no BTF. */
const NO_BTF = ['CONFIG_DEBUG_INFO_BTF_MODULES=']

/**
 * A livepatch's module, built for a kernel, once per source, kernel and compiler.
 *
 * @throws CouldNotRun when it does not compile, with the compiler's first error
 */
export async function buildLivepatch(context: Context, livepatch: Livepatch, kernel: Kernel): Promise<LivepatchModule> {
  const {module, source} = livepatch
  const {files, kbuild, made} = await sourcesOf(livepatch, kernel.release)
  const inputs = {kernel: kernel.key, sources: files, kbuild: sha256(kbuild), compiler: await compilerVersion(context), steps: 1}
  const built = await artefact(context, 'module', keyOf(inputs), inputs, async (into) => {
    context.progress(`building ${module} for ${kernel.label}`)
    const scratch = join(into, 'build')
    await mkdir(scratch)
    for (const file of Object.keys(files)) await copyFile(join(source, file), join(scratch, file))
    await writeFile(join(scratch, 'Kbuild'), kbuild)
    await make(context, kernel, scratch, source)
    await rename(join(scratch, made), join(into, `${module}.ko`))
    await rm(scratch, {recursive: true})
  })
  const file = `${module}.ko`
  return {path: join(built.directory, file), sha256: built.files[file]!}
}

/**
 * The sources of a livepatch, and the Kbuild for them.
 *
 * @throws InputError when the source of the module is not among them
 */
export async function sourcesOf({module, source}: Livepatch, release: string): Promise<Sources> {
  const files = await sourceFiles(source)
  const main = `${module.replaceAll('_', '-')}.c`
  if (!(main in files)) throw new InputError(`${source} holds no ${main}, the source of module ${module}`)
  return {files, kbuild: await renderKbuild(release, main.replace(/c$/, 'o')), made: main.replace(/c$/, 'ko')}
}

async function sourceFiles(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).filter((name) => /\.[ch]$/.test(name)).sort()
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await sha256File(join(folder, name))] as const)))
}

async function renderKbuild(release: string, object: string): Promise<string> {
  const template = await readFile(projectPath('livepatch/Kbuild.hbs'), 'utf8')
  return Handlebars.compile(template, {noEscape: true, strict: true})({release, object})
}

async function make(context: Context, kernel: Kernel, scratch: string, source: string): Promise<void> {
  const {build, prefix} = await kernel.headers(context)
  // The module's bytes must not depend on where it was built.
  const maps = [`-ffile-prefix-map=${scratch}=.`, `-ffile-prefix-map=${prefix}=.`]
  const {exitCode, all} = await runConfined(
    context,
    'make',
    ['-C', build, `M=${scratch}`, `KCFLAGS=${maps.join(' ')}`, 'W=1', ...NO_BTF, `-j${availableParallelism()}`, 'modules'],
    {reads: [prefix], writes: [scratch]},
    {allowedExits: [0, 1, 2], env: {KBUILD_BUILD_TIMESTAMP: '1970-01-01'}},
  )
  if (exitCode === 0) return
  throw new CouldNotRun(`the livepatch does not build for ${kernel.label}: ${firstError(all, scratch, source)}`)
}
