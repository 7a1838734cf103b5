import {basename, join, relative} from 'node:path'
import {printable} from '../../lib/text.js'
import {readEvidence} from '../../run/folder.js'
import {evidenceText, filesOf, type SessionFolder} from '../evidence.js'

/** How much of a text the page holds, and how large a capture it takes along, in bytes. */
const TEXT = 24 << 10
const CAPTURE = 48 << 10

/** A piece of evidence in the page, under an id that numbers link to. */
export type Piece = {
  id: string
  /** The file's place in the run's folder. */
  path: string
  name: string
  lines: {id: string; text: string}[]
  /** Whether there is more of it in the file. */
  cut: boolean
  /** A capture as a data: URL, for other tools; empty where it is none, or too large. */
  download: string
}

/** What one step of a session left. */
export type Group = {id: string; title: string; pieces: Piece[]}

/** The evidence of a case on a kernel: its groups, and where what is linked to is. */
export type Evidence = {
  groups: Group[]
  /** The id of a file, or undefined where the page does not hold it. */
  idOf: (path: string) => string | undefined
  /** The id of the line with a test's result in a KTAP file. */
  idOfTest: (path: string, test: string) => string | undefined
}

/** Files that are for programs; their content is drawn or told elsewhere. */
const LEFT_OUT = /(?:^|\/)(?:parties\.json|trace|trace\.json)$/

/** A test's result line of KTAP, with its name. */
const RESULT = /^\s*(?:not )?ok \d+ (?:- )?(\S+)/

/**
 * Takes the evidence of sessions into a page.
 *
 * @param prefix what the ids begin with
 */
export async function takeEvidence(folder: string, sessions: readonly SessionFolder[], prefix: string): Promise<Evidence> {
  const ids = new Map<string, string>()
  const groups: Group[] = []
  for (const session of sessions) {
    const byStep = new Map<string, string[]>()
    for (const file of await filesOf(session.path)) {
      const step = file.includes('/') ? file.slice(0, file.indexOf('/')) : ''
      if (!LEFT_OUT.test(file)) byStep.set(step, [...(byStep.get(step) ?? []), file])
    }
    for (const [step, files] of byStep) {
      const id = `${prefix}-g${groups.length}`
      const pieces = await Promise.all(files.map(async (file, index) => await pieceOf(folder, join(session.path, file), `${id}-f${index}`)))
      const held = pieces.filter((piece) => piece !== undefined)
      for (const piece of held) for (const path of [piece.path, ...(piece.download ? [`${piece.path.replace(/\.txt$/, '')}.pcap`] : [])]) ids.set(path, piece.id)
      const title = [session.fix, step || 'machine', session.repeat > 1 ? `repeat ${session.repeat}` : ''].filter(Boolean).join(', ')
      if (held.length > 0) groups.push({id, title, pieces: held})
    }
  }
  const pieces = groups.flatMap(({pieces}) => pieces)
  const idOf = (path: string) => ids.get(relative(folder, path))
  const idOfTest = (path: string, test: string) => {
    const piece = pieces.find(({id}) => id === idOf(path))
    return piece?.lines.find(({id, text}) => id !== '' && RESULT.exec(text)?.[1] === test)?.id ?? piece?.id
  }
  return {groups, idOf, idOfTest}
}

async function pieceOf(folder: string, path: string, id: string): Promise<Piece | undefined> {
  const name = basename(path)
  if (name.endsWith('.pcap')) return undefined
  const file = await evidenceText(path, TEXT)
  if (!file || file.text.trim() === '' || file.text.includes('\0')) return undefined
  const texts = printable(file.text).trimEnd().split('\n')
  const lines = name === 'ktap' ? texts.map((text, index) => (RESULT.test(text) ? {id: `${id}-l${index}`, text} : {id: '', text})) : [{id: '', text: texts.join('\n')}]
  const capture = name.endsWith('.txt') ? await readEvidence(path.replace(/\.txt$/, '.pcap'), CAPTURE) : undefined
  return {
    ...{id, path: relative(folder, path), name, lines, cut: !file.whole},
    download: capture?.whole ? `data:application/vnd.tcpdump.pcap;base64,${capture.bytes.toString('base64')}` : '',
  }
}
