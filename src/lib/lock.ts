import {execa} from 'execa'
import {dirname} from 'node:path'
import {CouldNotRun, Interrupted} from './errors.js'
import {makeFolder} from './files.js'

/**
 * Holds an exclusive flock(2) on a file while the work runs.
 *
 * util-linux's flock holds it in a child that lives as long as our end of its
 * standard input: however we end, SIGKILL included, the kernel frees the lock.
 */
export async function withLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>, onWait?: () => void): Promise<T> {
  signal.throwIfAborted()
  await makeFolder(dirname(path))
  const holder = execa('flock', ['--exclusive', path, 'cat'], {reject: false, buffer: false, stderr: 'ignore'})
  const waiting = setTimeout(() => onWait?.(), 500)
  const stop = () => void holder.kill('SIGTERM')
  signal.addEventListener('abort', stop, {once: true})
  try {
    // cat echoes once flock has started it, which is when the lock is ours.
    holder.stdin.write('held\n')
    const held = await new Promise<boolean>((resolve) => {
      holder.stdout.once('data', () => resolve(true))
      holder.stdout.once('close', () => resolve(false))
    })
    clearTimeout(waiting)
    if (signal.aborted) throw new Interrupted()
    if (!held) throw new CouldNotRun(`the lock ${path} could not be taken: is its folder writable?`)
    return await work()
  } finally {
    clearTimeout(waiting)
    signal.removeEventListener('abort', stop)
    holder.stdin.end()
    await holder
  }
}
