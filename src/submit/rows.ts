/** `not-run`: the checker is missing, or what it would look at. Never a pass. */
export type State = 'passed' | 'warned' | 'failed' | 'not-run'

/** What a check says of one patch, or of the series as a whole; several rows where it has several complaints. */
export type Row = {
  check: string
  /** Its number in the series, from 1; null for the series. */
  patch: number | null
  state: State
  /** `net/ipv4/route.c:12`, a mail's file; empty where there is none. */
  place: string
  reason: string
}

/** A complaint of a check, before it is known whose it is. */
export type Complaint = {state: 'warned' | 'failed'; place?: string; reason: string}

/** The rows of a check on a patch: its complaints, or that it passed. */
export function rowsOf(check: string, patch: number | null, complaints: readonly Complaint[], passed = ''): Row[] {
  if (complaints.length === 0) return [{check, patch, state: 'passed', place: '', reason: passed}]
  return complaints.map(({state, place = '', reason}) => ({check, patch, state, place, reason}))
}

export function notRun(check: string, patch: number | null, reason: string): Row {
  return {check, patch, state: 'not-run', place: '', reason}
}

const LEFT_OUT = 'left out by'

/** Why a check is not run that the user has left out by an option. */
export function leftOutBy(option: string): string {
  return `${LEFT_OUT} ${option}`
}

/** Whether a row is one that was left out on request. */
export function isLeftOut({state, reason}: Row): boolean {
  return state === 'not-run' && reason.startsWith(LEFT_OUT)
}

const ORDER: readonly State[] = ['passed', 'not-run', 'warned', 'failed']

/** The worst state of some rows. */
export function worst(rows: readonly Row[]): State {
  return rows.reduce<State>((state, row) => (ORDER.indexOf(row.state) > ORDER.indexOf(state) ? row.state : state), 'passed')
}
