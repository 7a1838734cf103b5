import {Listr, ListrLogger, ProcessOutput, SimpleRenderer} from 'listr2'
import {type Context} from './context.js'

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
        const progress = (text: string) => void (line.output = text)
        results.set(task, await task.run({...context, progress}))
      } catch (error) {
        failures.push(error)
        throw error
      }
    },
  }))
  const options = {concurrent: true, exitOnError: false, collectErrors: false as const, registerSignalListeners: false}
  // A terminal that says it has no columns (some CI) cannot redraw lines.
  await (process.stderr.isTTY && process.stderr.columns > 0 ? liveList(shown, options) : plainList(shown, options)).run()
  context.signal.throwIfAborted()
  if (failures.length > 0) throw failures[0]
  return tasks.map((task) => results.get(task)!)
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
