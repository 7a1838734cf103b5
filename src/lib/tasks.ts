import {Listr, ListrLogger, ProcessOutput, SimpleRenderer} from 'listr2'
import {type Context} from './context.js'

/** How often plain lines say how far something is, in ms. */
const PAUSE = 20_000

export type Task<T> = {title: string; run: (context: Context) => Promise<T>}

/**
 * Runs tasks side by side and shows how they get on: live lines on a terminal,
 * plain ones elsewhere, always on standard error. All of them end before the
 * first failure is thrown, so that nothing is left running.
 */
export async function runTasks<T>(context: Context, tasks: readonly Task<T>[]): Promise<T[]> {
  const results = new Map<Task<T>, T>()
  const failures: unknown[] = []
  const shown = tasks.map((task) => ({
    title: task.title,
    task: async (_: unknown, line: {output: string}) => {
      try {
        const progress = paced(live, (text) => void (line.output = text))
        results.set(task, await task.run({...context, progress}))
      } catch (error) {
        failures.push(error)
        // The first one is thrown and told by whoever catches it: not twice.
        throw failures.length === 1 ? new Error('told below', {cause: error}) : error
      }
    },
  }))
  // A terminal that says it has no columns (some CI) cannot redraw lines.
  const live = process.stderr.isTTY && process.stderr.columns > 0
  const options = {concurrent: true, exitOnError: false, collectErrors: false as const, registerSignalListeners: false}
  await (live ? liveList(shown, options) : plainList(shown, options)).run()
  context.signal.throwIfAborted()
  if (failures.length > 0) throw failures[0]
  return tasks.map((task) => results.get(task)!)
}

/** Where lines are not redrawn, what differs from the last one only in a count is said now and then. */
export function paced(live: boolean, say: (text: string) => void): (text: string) => void {
  if (live) return say
  let last = {shape: '', at: 0}
  return (text) => {
    const shape = text.replace(/\d+/g, 'N')
    if (shape === last.shape && Date.now() - last.at < PAUSE) return
    last = {shape, at: Date.now()}
    say(text)
  }
}

type Shown = {title: string; task: (_: unknown, line: {output: string}) => Promise<void>}
type Options = {concurrent: boolean; exitOnError: boolean; collectErrors: false; registerSignalListeners: boolean}

function liveList(shown: readonly Shown[], options: Options) {
  return new Listr([...shown], {...options, renderer: 'default', rendererOptions: {logger: stderrLogger(), showErrorMessage: false, collapseErrors: true}})
}

function plainList(shown: readonly Shown[], options: Options) {
  return new Listr([...shown], {...options, renderer: SimpleRenderer, rendererOptions: {logger: stderrLogger()}})
}

/** Standard output belongs to the report. */
function stderrLogger() {
  return new ListrLogger({processOutput: new ProcessOutput(process.stderr, process.stderr)})
}
