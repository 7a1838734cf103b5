import {type Evidence} from './evidence.js'
import {type CheckRecord} from './record.js'

/** As the user would write them. */
export type Commands = {check: string; compare: string}

/** What is known of a series as it is now. */
export type Known = {
  /** The commands that check and compare this series. */
  commands: Commands
  check: CheckRecord | undefined
  evidence: readonly Evidence[]
  /** Parts of the letter that its author has yet to write. */
  unwritten: readonly string[]
}

/** Why a series should not be sent as it is, a sentence each; none where it may be. */
export function reasonsAgainst({commands, check, evidence, unwritten}: Known): string[] {
  return [...againstCheck(commands, check), ...againstEvidence(commands, evidence), ...unwritten]
}

function againstCheck({check: command}: Commands, check: CheckRecord | undefined): string[] {
  if (!check) return [`the series was not checked as it is now: '${command}'`]
  const failed = check.rows.filter(({state}) => state === 'failed')
  return failed.map((row) => `check ${row.check}${row.patch === null ? '' : ` of patch ${row.patch}`} failed: ${row.reason}`)
}

function againstEvidence({compare: command}: Commands, evidence: readonly Evidence[]): string[] {
  if (evidence.length === 0) return [`the series was not compared as it is now: '${command}'`]
  return evidence.flatMap(({kernel, base, patched}) =>
    [base, patched].flatMap((cell) => (cell && cell.verdict !== cell.expected ? [`${cell.variant} on ${kernel}: the verdict is ${cell.verdict}, expected ${cell.expected}`] : [])),
  )
}
