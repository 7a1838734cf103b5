import {readdir, readFile, stat} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {z} from 'zod'
import {projectPath, projectRoot} from '../lib/project.js'
import {type Content} from './evidence.js'

/** What patchbench needs of itself to run; src/ as well, which is what the licence calls its source. */
const PARTS = ['LICENSE', 'package.json', 'package-lock.json', 'README.md', 'tsconfig.json', 'tsconfig.build.json', 'bin', 'dist', 'kconfigs', 'src', 'vm', 'livepatch/Kbuild.hbs']

/** Of the libraries it needs, what runs and what their licences ask for. */
const RUNS = /\.(?:js|cjs|mjs|json)$|^licen[sc]e[^/]*$/i

const lockSchema = z.object({packages: z.record(z.string(), z.object({dev: z.boolean().optional(), optional: z.boolean().optional()}))})

/** The program that makes the bundle, with its libraries: what reproduce.sh runs. */
export async function ownProgram(): Promise<Content[]> {
  const own = await Promise.all(PARTS.map(async (part) => await filesAt(projectPath(part))))
  const lock = lockSchema.parse(JSON.parse(await readFile(projectPath('package-lock.json'), 'utf8')))
  const libraries = Object.entries(lock.packages).filter(([path, one]) => path !== '' && !one.dev && !one.optional)
  const theirs = await Promise.all(libraries.map(async ([path]) => await filesAt(projectPath(path), (name, parents) => RUNS.test(name) && !parents.includes('node_modules'))))
  const paths = [...own, ...theirs].flat().map((path) => relative(projectRoot, path))
  return await Promise.all(paths.filter((path) => !/__pycache__|\.tsbuildinfo$/.test(path)).map(content))
}

async function content(path: string): Promise<Content> {
  const place = projectPath(path)
  const [data, {mode}] = await Promise.all([readFile(place), stat(place)])
  return {path: join('patchbench', path), data, executable: (mode & 0o100) !== 0}
}

/** The plain files at or below a path. */
async function filesAt(path: string, takes: (name: string, parents: string) => boolean = () => true): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path]
  const entries = await readdir(path, {recursive: true, withFileTypes: true})
  return entries.filter((entry) => entry.isFile() && takes(entry.name, relative(path, entry.parentPath))).map((entry) => join(entry.parentPath, entry.name))
}
