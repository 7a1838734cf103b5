import {setMaxListeners} from 'node:events'
import {setTimeout as sleep} from 'node:timers/promises'
import {type Case} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError, Interrupted} from '../lib/errors.js'
import {follower, type Follower} from '../lib/follow.js'
import {sha256File} from '../lib/hash.js'
import {type Comparison} from '../run/compare.js'
import {changedInputs, foldersToFollow, type Inputs, inputsOf} from './inputs.js'
import {type Editing, editingOf} from './worktree.js'

/** One turn of the loop: what was saved, and what came of it. */
export type Turn = {
  number: number
  /** The names of what differs from the last turn; none of the first. */
  changed: readonly string[]
  /** Undefined where the case as it was saved cannot be compared; the sentence says why. */
  comparison?: Comparison
  error?: string
  /** From the first sign of the save to here. */
  seconds: number
}

export type WatchInput = {
  /** The case's case.yaml. */
  file: string
  load: () => Promise<Case>
  /** Compares the case as it is. */
  compare: (context: Context, one: Case, editing: Editing | undefined) => Promise<Comparison>
  onTurn: (turn: Turn) => void | Promise<void>
  /** A save came while a comparison ran, which is given up. */
  onCancel: (changed: readonly string[]) => void
}

/** What stands for what is wrong with a case, among its inputs. */
const CASE = 'the case'

/** What the loop knows of the case on the disk: how it was last read, and what is wrong with it now. */
type Seen = {one: Case; error?: string; editing: Editing | undefined; inputs: Inputs}

/**
 * Compares a case, again whenever something is saved that it hangs on, until the
 * signal aborts. A save in the middle of a comparison ends that, and the next
 * one begins when it has ended and left nothing behind.
 */
export async function watchCase(context: Context, input: WatchInput): Promise<never> {
  const folders = follower()
  try {
    let seen = await look(context.signal, input, undefined, folders)
    let [changed, since]: [readonly string[], number] = [[], Date.now()]
    for (let number = 1; ; ) {
      // One wait for each state: what it has noticed is not lost when the comparison ends first.
      const change = nextChange(context.signal, input, seen, folders)
      const turn = await takeTurn(context, input, seen, change)
      if (!('next' in turn)) {
        await input.onTurn({number, changed, ...turn, seconds: (Date.now() - since) / 1000})
        ;[number, changed] = [number + 1, []]
      } else input.onCancel(turn.changed)
      const {next, changed: more, since: begin} = await change
      // What was changed before a comparison that was given up has had no verdict.
      ;[seen, since, changed] = [next, begin, [...new Set([...changed, ...more])]]
    }
  } finally {
    folders.close()
  }
}

type Outcome = {comparison: Comparison} | {error: string}
type Change = {next: Seen; changed: string[]; since: number}

/** Compares until there is an outcome or a save. */
async function takeTurn(context: Context, input: WatchInput, {one, editing, error}: Seen, change: Promise<Change>): Promise<Outcome | Change> {
  change.catch(() => {})
  if (error !== undefined) return {error}
  const stop = new AbortController()
  const own = AbortSignal.any([context.signal, stop.signal])
  setMaxListeners(0, own)
  const outcome = compareOnce({...context, signal: own}, input, one, editing)
  const first = await Promise.race([outcome, change.catch(async () => await outcome)])
  if (!('next' in first)) return first
  stop.abort(new Interrupted())
  await outcome.catch(() => {})
  context.signal.throwIfAborted()
  return first
}

/** What is wrong with what was saved is said, and waits for the next save. */
async function compareOnce(context: Context, {compare}: WatchInput, one: Case, editing: Editing | undefined): Promise<Outcome> {
  try {
    return {comparison: await compare(context, one, editing)}
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof InputError) return {error: error.message}
    if (error instanceof CouldNotRun) return {error: [error.message, error.detail].filter(Boolean).join('\n')}
    throw error
  }
}

/** Waits until what the case hangs on differs from what was seen. */
async function nextChange(signal: AbortSignal, input: WatchInput, seen: Seen, folders: Follower): Promise<Change> {
  for (;;) {
    const since = await folders.change(signal)
    const next = await lookAgain(signal, input, seen, folders)
    const changed = await changedInputs(signal, seen.inputs, next.inputs, next.editing)
    const files = changed.filter((name) => name !== CASE)
    if (changed.length > 0) return {next, changed: files.length > 0 ? files : changed, since}
  }
}

/** In the middle of a save git may find a file gone that it has just listed: it is asked again. */
async function lookAgain(signal: AbortSignal, input: WatchInput, seen: Seen, folders: Follower): Promise<Seen> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await look(signal, input, seen, folders)
    } catch (error) {
      if (!(error instanceof CouldNotRun) || attempt === 5) throw error
      await sleep(200, undefined, {signal})
    }
  }
}

/** Reads the case, follows its folders, and hashes what it hangs on. */
async function look(signal: AbortSignal, input: WatchInput, before: Seen | undefined, folders: Follower): Promise<Seen> {
  const {one, editing, error} = await read(signal, input, before)
  folders.follow(await foldersToFollow(signal, one, editing))
  const inputs = await inputsOf(signal, one, editing)
  // A case that cannot be read is another one than it was, and again when it can.
  return error === undefined ? {one, editing, inputs} : {one, editing, error, inputs: new Map([...inputs, [CASE, error]])}
}

async function read(signal: AbortSignal, {file, load}: WatchInput, before: Seen | undefined): Promise<Omit<Seen, 'inputs'>> {
  for (;;) {
    const text = await sha256File(file).catch(() => 'none')
    try {
      const one = await load()
      const editing = await editingOf(signal, one)
      // Saved while it was read, it would be taken for what it was.
      if ((await sha256File(file).catch(() => 'none')) === text) return {one, editing}
    } catch (failure) {
      if (!(failure instanceof InputError) || !before) throw failure
      return {...before, error: failure.message}
    }
  }
}
