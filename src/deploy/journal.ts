import {appendFile, chmod} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {makeFolder} from '../lib/files.js'
import {stateFolder} from '../lib/state.js'

/** What was done on a host, as its journal here has it. */
export type Entry = {
  verb: 'load' | 'unload' | 'keep' | 'persist' | 'forget'
  case: string
  livepatch: string
  module: string
  sha256?: string
  release?: string
  result: string
}

/** The journal of a host, a line of JSON for each thing that was done there; the host has its own. */
export function journalOf(host: string): string {
  return join(stateFolder(), 'hosts', `${host.replaceAll(/[^\w.@-]+/g, '-')}.jsonl`)
}

export async function writeJournal(host: string, entry: Entry): Promise<void> {
  const path = journalOf(host)
  await makeFolder(dirname(path))
  await appendFile(path, `${JSON.stringify({at: new Date().toISOString(), host, ...entry})}\n`)
  await chmod(path, 0o600)
}
