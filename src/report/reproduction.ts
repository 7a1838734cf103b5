import {type CellAgreement, type Difference, type TestDifference} from '../bundle/agree.js'
import {EXIT} from '../lib/errors.js'
import {printable} from '../lib/text.js'
import {plainTable} from './table.js'

/** What came of a bundle here. */
export type Reproduction = {
  exit: number
  /** Who signed the bundle; null where that was not checked. */
  signer: string | null
  /** Whether it has a signature. */
  signed: boolean
  differences: readonly Difference[]
  cells: readonly CellAgreement[]
  /** Our run's folder. */
  folder: string
  accelerator: string
}

/** As one JSON document; keys are added, never renamed, within a schema number. */
export function reproductionJson(one: Reproduction): string {
  const {exit, ...rest} = one
  return JSON.stringify({schema: 1, reproduced: exit === EXIT.ok, exit, ...rest}, null, 2)
}

/** What differs that may be a reason, the author's cells beside ours, and in the last line what that amounts to. */
export function reproductionText({exit, signer, signed, differences, cells, folder, accelerator}: Reproduction): string {
  const parts = [
    signatureText(signer, signed),
    differencesText(differences),
    plainTable(['case', 'kernel', 'variant', 'fix', "author's", 'here', ''], cells.map(cellRow)),
    ...cells.filter(({state}) => state === 'differs' || state === 'could-not-run').map(explain),
    `under ${accelerator}; evidence and report.md are in ${folder}`,
    conclusion(exit, cells),
  ]
  return parts.join('\n\n')
}

function signatureText(signer: string | null, signed: boolean): string {
  if (signer !== null) return `signed by ${printable(signer)}`
  return signed ? 'it is signed; whether by somebody you know, --verify KEYS finds out' : 'it is not signed'
}

function differencesText(differences: readonly Difference[]): string {
  if (differences.length === 0) return 'kernels, compiler, accelerator, tools and guest are the same as the author\'s'
  const rows = differences.map(({what, theirs, ours}) => [what, theirs, ours])
  return `not as on the author's machine, and possible reasons where a result differs:\n${plainTable(['what', "author's", 'here'], rows)}`
}

function cellRow({case: name, kernel, variant, candidate, verdict, state}: CellAgreement): string[] {
  const kernels = kernel.ours === '' || kernel.ours === kernel.theirs ? kernel.theirs : `${kernel.theirs} (${kernel.ours})`
  return [name, kernels, variant, candidate ?? '', verdict.theirs ?? '-', verdict.ours ?? '-', state.replace('-', ' ')]
}

function explain({case: name, variant, candidate, tests, reasons}: CellAgreement): string {
  const where = `${name}, ${variant}${candidate ? ` (${candidate})` : ''}`
  return [...tests.map((test) => `${where}: ${testText(test)}`), ...reasons.map((reason) => `${where}: ${printable(reason)}`)].join('\n')
}

function testText({name, theirs, ours, observed}: TestDifference): string {
  const said = (status: string, seen: string) => printable(seen.split('\n')[0] ? `${status} (${seen.split('\n')[0]})` : status)
  return `${printable(name)}: author's ${said(theirs, observed.theirs)}, here ${said(ours, observed.ours)}`
}

function conclusion(exit: number, cells: readonly CellAgreement[]): string {
  const ran = cells.filter(({state}) => state !== 'left-out' && state !== 'not-claimed')
  const same = ran.filter(({state}) => state === 'same').length
  const words = `${same} of ${ran.length} cells are the author's, by verdict and by test`
  if (exit === EXIT.ok) return `reproduced here: ${words}`
  return exit === EXIT.missed ? `not reproduced here: ${words}` : `could not run here: ${words}, and nothing can be said of the others`
}
