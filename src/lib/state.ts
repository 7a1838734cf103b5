import {open, readFile, rename} from 'node:fs/promises'
import {homedir} from 'node:os'
import {dirname, join} from 'node:path'
import {z} from 'zod'
import {InputError, systemCode} from './errors.js'
import {makeFolder} from './files.js'

/** What is kept of runs, checks and sent series: $XDG_STATE_HOME, as the XDG base directory specification has it. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'patchbench')
}

/** Writes a file so that it is there whole or not at all, also after a loss of power. */
export async function writeWhole(path: string, text: string | Uint8Array): Promise<void> {
  await makeFolder(dirname(path))
  const partial = `${path}.${process.pid}.partial`
  const file = await open(partial, 'w')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(partial, path)
}

/**
 * A JSON file of a known form; undefined where there is none.
 *
 * @throws InputError when it is damaged
 */
export async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const parsed = schema.safeParse(jsonIn(text))
  if (parsed.success) return parsed.data
  throw new InputError(`${path} is damaged, or of another patchbench: move it away`)
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
