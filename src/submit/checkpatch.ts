import {findProgram} from '../lib/hostpath.js'
import {run} from '../lib/process.js'
import {type Patch} from '../series/series.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'
import {type Scripts} from './scripts.js'

const SCRIPT = 'scripts/checkpatch.pl'

/** What the tree's own checkpatch.pl --strict says of each patch. */
export async function checkCheckpatch(signal: AbortSignal, scripts: Scripts, patches: readonly Patch[], history: boolean): Promise<Row[]> {
  if (!scripts.has(SCRIPT)) return [notRun('checkpatch', null, `the tree has no ${SCRIPT}`)]
  if (!(await findProgram('perl'))) return [notRun('checkpatch', null, 'perl is not installed')]
  // Where there is no history, every commit that a message names would be unknown to it.
  const env = history ? scripts.env : {...scripts.env, GIT_DIR: '/nonexistent'}
  const words = ['--strict', '--terse', '--show-types', '--showfile', '--no-summary', '--color=never']
  const rows: Row[] = []
  for (const [index, patch] of patches.entries()) {
    const {all} = await run('perl', [SCRIPT, ...words, scripts.mails[index]!], {cwd: scripts.folder, signal, env, allowedExits: [0, 1]})
    rows.push(...rowsOf('checkpatch', index + 1, complaintsIn(all, patch.where)))
  }
  return rows
}

/** `net/a.c:12: WARNING:TYPE: text`; what is about the message has no file, and `:12: ` before it. */
const LINE = /^(?:(\S*?):(\d*): )?(ERROR|WARNING|CHECK):([A-Z_0-9]+): (.*)$/

/** The complaints in what checkpatch prints with --terse, --show-types and --showfile. */
export function complaintsIn(output: string, mail: string): Complaint[] {
  return output.split('\n').flatMap((text): Complaint[] => {
    const [, file, line, level, type, words] = LINE.exec(text) ?? []
    if (words === undefined) return []
    const place = file ? `${file}:${line}` : mail
    return [{state: level === 'ERROR' ? 'failed' : 'warned', place, reason: `${type}: ${words}`}]
  })
}
