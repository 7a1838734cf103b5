import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from './context.js'
import {writeWhole} from './state.js'

/** How long an answer is kept, in ms. */
const KEPT = 7 * 24 * 3600 * 1000

/**
 * An answer of the archive's (which version is the newest), kept for a week so
 * that a run without a network, and the next run, mean the same package.
 *
 * @param name its place in the cache, without the ending
 * @param anew asks in any case
 */
export async function remembered<T>(context: Context, name: string, anew: boolean, ask: () => Promise<T>): Promise<T> {
  const memory = join(context.cache, `${name}.json`)
  const known = anew ? undefined : await recall<T>(memory)
  if (known !== undefined) return known
  const answer = await ask()
  await writeWhole(memory, JSON.stringify({at: Date.now(), answer}))
  return answer
}

async function recall<T>(memory: string): Promise<T | undefined> {
  try {
    const {at, answer} = JSON.parse(await readFile(memory, 'utf8')) as {at: number; answer?: T}
    return Date.now() - at < KEPT ? answer : undefined
  } catch {
    return undefined
  }
}
