import {type FSWatcher, watch} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'

/** How long a folder has to be quiet before it is looked at, in ms: an editor saves in several steps. */
const QUIET = 30

/** Folders that are followed. Files below them that are not in them are not. */
export type Follower = {
  /** Follows these folders from now on, and no others. */
  follow: (folders: Iterable<string>) => void
  /** Waits until something happened in a followed folder since the last call, and it is quiet again; when it began, in ms. */
  change: (signal: AbortSignal) => Promise<number>
  close: () => void
}

/**
 * Follows what happens in folders, by node's own watch (inotify(7)): a watch a
 * folder is enough, as editors replace files. A folder that goes away is
 * followed again when follow() names it again.
 */
export function follower(): Follower {
  const watchers = new Map<string, FSWatcher>()
  let [first, last] = [0, 0]
  let wake = () => {}
  const note = () => {
    last = Date.now()
    first ||= last
    wake()
  }
  const drop = (folder: string) => {
    watchers.get(folder)?.close()
    watchers.delete(folder)
  }
  const add = (folder: string) => {
    try {
      const watcher = watch(folder, (kind) => {
        note()
        // The folder itself may be another one now, of the same name.
        if (kind === 'rename') stale.add(folder)
      })
      watcher.on('error', () => drop(folder))
      watchers.set(folder, watcher)
    } catch {
      // It is not there: what is above it is followed too.
    }
  }
  const stale = new Set<string>()
  return {
    follow: (folders) => {
      const wanted = new Set(folders)
      for (const folder of [...watchers.keys()]) if (!wanted.has(folder) || stale.has(folder)) drop(folder)
      stale.clear()
      for (const folder of wanted) if (!watchers.has(folder)) add(folder)
    },
    change: async (signal) => {
      signal.throwIfAborted()
      if (last === 0) {
        await new Promise<void>((resolve, reject) => {
          const stop = () => reject(signal.reason as Error)
          signal.addEventListener('abort', stop, {once: true})
          wake = () => {
            signal.removeEventListener('abort', stop)
            resolve()
          }
        })
      }
      while (Date.now() - last < QUIET) await sleep(Math.max(1, QUIET - (Date.now() - last)), undefined, {signal}).catch(() => signal.throwIfAborted())
      const since = first
      first = last = 0
      wake = () => {}
      return since
    },
    close: () => {
      for (const folder of [...watchers.keys()]) drop(folder)
    },
  }
}
