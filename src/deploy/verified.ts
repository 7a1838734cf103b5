import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Livepatch} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {keyOf} from '../lib/hash.js'
import {writeWhole} from '../lib/state.js'
import {type LivepatchModule} from '../livepatch/build.js'
import {type Verified} from './preflight.js'

/** What is verified: these bytes, loaded like this, in this kernel. */
function memoryOf({cache}: Context, {parameters, claims}: Livepatch, {key}: Kernel, {sha256}: LivepatchModule): string {
  return join(cache, 'verified', `${keyOf({module: sha256, kernel: key, parameters, claims})}.json`)
}

/** The run that said what a module is worth on a kernel; undefined where none is remembered. */
export async function recallVerified(context: Context, livepatch: Livepatch, kernel: Kernel, module: LivepatchModule): Promise<Verified | undefined> {
  try {
    return JSON.parse(await readFile(memoryOf(context, livepatch, kernel, module), 'utf8')) as Verified
  } catch {
    return undefined
  }
}

/** A run that could not say is not remembered: the next one may. */
export async function rememberVerified(context: Context, livepatch: Livepatch, kernel: Kernel, module: LivepatchModule, verified: Verified): Promise<void> {
  await writeWhole(memoryOf(context, livepatch, kernel, module), JSON.stringify(verified))
}
