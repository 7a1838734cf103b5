import {forget, type Kept, keptArtefacts} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {plainTable} from '../report/table.js'

export type CleanOptions = {unused: number; kind?: string; dryRun?: boolean; json?: boolean}

const DAY = 86_400_000

/** `patchbench cache`: what the cache holds, by kind. */
export async function cacheCommand(context: Context, {json}: {json?: boolean}): Promise<{text: string; exit: number}> {
  const kinds = byKind(await keptArtefacts(context))
  if (json) return {text: JSON.stringify({schema: 1, cache: context.cache, kinds}, null, 2), exit: EXIT.ok}
  const rows = kinds.map(({kind, count, bytes, used}) => [kind, String(count), mebibytes(bytes), used.toISOString().slice(0, 10)])
  return {text: `${context.cache}\n\n${plainTable(['kind', 'artefacts', 'size', 'last used'], rows)}`, exit: EXIT.ok}
}

/**
 * `patchbench cache clean`: deletes what nobody wanted for some days.
 *
 * @throws InputError when there is nothing of the kind that was named
 */
export async function cleanCommand(context: Context, {unused, kind, dryRun = false, json}: CleanOptions): Promise<{text: string; exit: number}> {
  const all = await keptArtefacts(context)
  if (kind !== undefined && !all.some((one) => one.kind === kind)) {
    throw new InputError(`the cache has no '${kind}': 'patchbench cache' shows what it has`)
  }
  const before = Date.now() - unused * DAY
  const gone = all.filter((one) => (kind === undefined || one.kind === kind) && one.used.getTime() <= before)
  if (!dryRun) for (const one of gone) await forget(context, one.kind, one.key)
  const bytes = total(gone)
  if (json) return {text: JSON.stringify({schema: 1, cache: context.cache, dryRun, bytes, artefacts: gone}, null, 2), exit: EXIT.ok}
  const what = `${gone.length} of ${all.length} artefacts, ${mebibytes(bytes)}`
  return {text: `${dryRun ? 'would delete' : 'deleted'} ${what}: not used for ${unused} days`, exit: EXIT.ok}
}

function byKind(all: readonly Kept[]): {kind: string; count: number; bytes: number; used: Date}[] {
  const sums = [...new Set(all.map(({kind}) => kind))].map((kind) => {
    const ones = all.filter((one) => one.kind === kind)
    return {kind, count: ones.length, bytes: total(ones), used: new Date(Math.max(...ones.map(({used}) => used.getTime())))}
  })
  return sums.sort((one, other) => other.bytes - one.bytes)
}

function total(all: readonly Kept[]): number {
  return all.reduce((sum, {bytes}) => sum + bytes, 0)
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / (1 << 20))} MiB`
}
