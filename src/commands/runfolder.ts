import {readdir, rm, stat, symlink, writeFile} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {type Context} from '../lib/context.js'
import {InputError, systemCode} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {LATEST, runsFolder} from '../run/folder.js'
import {INPUTS} from '../run/record.js'

/** A folder that belongs to one run, until that has ended. */
export type RunFolder = {
  path: string
  /** The run is whole: the folder is the user's. */
  finish: () => Promise<void>
  /** Takes away what was begun in it, and the folder where we made it. */
  discard: () => Promise<void>
  /** The run failed: what it left is evidence; where it left nothing, nothing stays. */
  giveUp: () => Promise<void>
}

/** Where a run goes, and when it began. */
export type RunPlace = {folder: string; date: Date}

/** Does a run's work in a folder of its own, which is looked at before anything is made. */
export async function inRunFolder<T>({signal}: Context, output: string | undefined, work: (place: RunPlace) => Promise<T>): Promise<T> {
  const date = new Date()
  const folder = await runFolder(output, date)
  try {
    const done = await work({folder: folder.path, date})
    await folder.finish()
    if (!output) await pointLatest(folder.path)
    return done
  } catch (error) {
    // Nobody reads the half of a run: what was interrupted is begun anew.
    await (signal.aborted ? folder.discard() : folder.giveUp())
    throw error
  }
}

async function pointLatest(folder: string): Promise<void> {
  const latest = join(dirname(folder), LATEST)
  await rm(latest, {force: true})
  // Two runs at once may both point here; either is a fair answer.
  await symlink(folder, latest).catch(() => {})
}

/** Says in a folder that a run has begun there: of two at once, only one can make it. */
const BEGUN = '.begun'

/**
 * The folder of a run: a new one of the user's state, or --output, which has to be empty.
 *
 * @throws InputError when it holds something, or another run has begun there
 */
export async function runFolder(output: string | undefined, date: Date): Promise<RunFolder> {
  const name = date.toISOString().replaceAll(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const path = output ? resolve(output) : join(runsFolder(), `${name}-${process.pid}`)
  const isOurs = (await stat(path).catch(() => undefined)) === undefined
  await makeFolder(path)
  if ((await readdir(path)).length > 0) throw notEmpty(path)
  const mark = join(path, BEGUN)
  await writeFile(mark, `${process.pid}\n`, {flag: 'wx'}).catch((error: unknown) => {
    throw systemCode(error) === 'EEXIST' ? notEmpty(path) : error
  })
  const finish = async () => await rm(mark, {force: true})
  const discard = async () => {
    // It was empty when the run began.
    for (const entry of await readdir(path)) await rm(join(path, entry), {recursive: true, force: true, maxRetries: 3})
    if (isOurs) await rm(path, {recursive: true, force: true, maxRetries: 3})
  }
  // What it was to be made of is no evidence.
  const giveUp = async () => ((await readdir(path)).some((entry) => entry !== BEGUN && entry !== INPUTS) ? await finish() : await discard())
  return {path, finish, discard, giveUp}
}

function notEmpty(path: string): InputError {
  return new InputError(`--output ${path} is not empty: name a new folder, so that no evidence is mixed`)
}
