import {join} from 'node:path'
import {z} from 'zod'
import {type Series} from '../series/series.js'
import {textOf} from '../series/identity.js'
import {isLeftOut, type Row} from './rows.js'
import {readJson, stateFolder, writeWhole} from '../lib/state.js'

const row = z.object({
  check: z.string(),
  patch: z.number().nullable(),
  state: z.enum(['passed', 'warned', 'failed', 'not-run']),
  place: z.string(),
  reason: z.string(),
})

const record = z.object({schema: z.literal(1), date: z.string(), source: z.string(), rows: z.array(row)})

/** What `check` said of exactly this series, words included. */
export type CheckRecord = z.infer<typeof record>

/** Keeps what was said of a series, for `send`. What was left out this time stays as it was said before. */
export async function keepCheck(series: Series, source: string, rows: readonly Row[], date: Date): Promise<void> {
  const before = await lastCheck(series)
  const known = (check: string) => (before?.source === source ? before.rows.filter((one) => one.check === check) : [])
  const all = rows.flatMap((one) => (isLeftOut(one) && known(one.check).length > 0 ? known(one.check) : [one]))
  const text: CheckRecord = {schema: 1, date: date.toISOString(), source, rows: all}
  await writeWhole(fileOf(series), `${JSON.stringify(text, null, 1)}\n`)
}

export async function lastCheck(series: Series): Promise<CheckRecord | undefined> {
  return await readJson(fileOf(series), record)
}

function fileOf(series: Series): string {
  return join(stateFolder(), 'checks', `${textOf(series)}.json`)
}
