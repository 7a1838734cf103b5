import {type Confine} from './confine.js'

/** What every room needs from the command that called it. */
export type Context = {
  /** Aborts when the user interrupts; all work ends then. */
  signal: AbortSignal
  /** The folder of the artefact cache. */
  cache: string
  /** Says what is being done now, for a terminal or a log. */
  progress: (text: string) => void
  /** Keeps builds to their folders, where what is built is a stranger's; see runConfined(). */
  confine?: Confine
}

/** For what sees itself through once it has begun, whatever the user does. */
export function uninterrupted(context: Context): Context {
  return {...context, signal: new AbortController().signal}
}
