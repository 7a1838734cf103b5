import {join} from 'node:path'
import {choose, type Excerpt, excerpt} from '../../capture/excerpt.js'
import {judge, type Judged} from '../../capture/judge.js'
import {readPacket} from '../../capture/packet.js'
import {readPcap} from '../../capture/pcap.js'
import {readEvidence} from '../../run/folder.js'
import {type Result} from '../../run/results.js'
import {evidenceText, filesOf, type SessionFolder} from '../evidence.js'
import {titleOf} from '../symptom.js'
import {type Evidence} from './evidence.js'
import {partiesOf, readParties} from './parties.js'
import {type Sequence, sequenceOf} from './sequence.js'

/** A capture as it was in one variant. */
export type Drawn = {
  title: string
  verdict: string
  sequence: Sequence | null
  /** In place of a drawing that would be empty. */
  words: string
  /** How many packets the capture holds, and how many of them go wrong. */
  total: number
  wrong: number
  /** The id of the capture in the evidence; empty where it is not in the page. */
  link: string
}

/** A capture on base and with fixes: the first two side by side. */
export type DrawnCapture = {name: string; conversation: string; first: [Drawn, ...Drawn[]]; others: Drawn[]}

const LARGEST = 64 << 20
/** How large the list of parties may be. */
const PARTIES = 64 << 10

/** Draws the captures of a case on a kernel, those in which something goes wrong: first those that a fix made better. */
export async function drawCaptures(results: readonly Result[], sessions: readonly SessionFolder[], evidence: Evidence): Promise<{better: DrawnCapture[]; alike: DrawnCapture[]}> {
  const base = results.find(({variant}) => variant === 'base')
  const place = base && folderOf(base, sessions)
  if (!place) return {better: [], alike: []}
  const captures = (await filesOf(place)).filter((name) => name.endsWith('.pcap'))
  const symptoms = captures.filter((name) => name.includes('symptom'))
  const drawn = await Promise.all((symptoms.length > 0 ? symptoms : captures).map(async (name) => await drawCapture(name, results, sessions, evidence)))
  const telling = drawn.filter(({first, others}) => [...first, ...others].some(({wrong}) => wrong > 0))
  // One that nothing can be said of is shown as well, where there is no other.
  const shown = (telling.length > 0 ? telling : drawn).sort((a, b) => b.first[0].wrong - a.first[0].wrong || a.name.length - b.name.length)
  return {better: shown.filter((one) => telling.length === 0 || isBetter(one)), alike: telling.filter((one) => !isBetter(one))}
}

function isBetter({first: [before, after]}: DrawnCapture): boolean {
  return after === undefined || after.wrong < before.wrong
}

/** The folder with what a result's variant left, in its first repeat. */
export function folderOf({variant, candidate}: Pick<Result, 'variant' | 'candidate'>, sessions: readonly SessionFolder[]): string | undefined {
  const session = sessions.find(({fix, variants, repeat}) => repeat === 1 && fix === candidate && variants.includes(variant))
  return session && join(session.path, variant)
}

async function drawCapture(file: string, results: readonly Result[], sessions: readonly SessionFolder[], evidence: Evidence): Promise<DrawnCapture> {
  const name = file.replace(/\.pcap$/, '')
  const there = results.flatMap((result) => {
    const folder = folderOf(result, sessions)
    return folder ? [{result, folder}] : []
  })
  const read = await Promise.all(
    there.map(async ({result, folder}) => {
      const packets = await readCapture(join(folder, file))
      const parties = readParties((await evidenceText(join(folder, 'parties.json'), PARTIES))?.text)
      return {result, folder, packets, parties: partiesOf(packets, parties)}
    }),
  )
  const choice = choose(read.find(({result}) => result.variant === 'base')?.packets ?? [])
  const drawn = read.map(({result, folder, packets, parties}): Drawn => {
    const part = excerpt(packets, choice)
    const title = titleOf(result)
    const wrong = packets.filter(({right}) => right === false).length
    const about = {title, verdict: result.verdict, total: packets.length, wrong, link: evidence.idOf(join(folder, `${name}.txt`)) ?? ''}
    if (part.packets.length === 0) return {...about, sequence: null, words: wordsFor(part)}
    return {...about, words: '', sequence: sequenceOf(part, parties, `packets of ${name}, ${title}: ${spoken(part)}`)}
  })
  const isFixed = ({verdict}: Drawn) => verdict === 'fixed'
  const [before, ...after] = drawn
  const fixed = after.find(isFixed) ?? after[0]
  return {
    name,
    conversation: choice?.conversation ?? '',
    first: [before!, ...(fixed ? [fixed] : [])],
    others: after.filter((one) => one !== fixed),
  }
}

/** A capture's packets, judged; none where it is no capture. */
export async function readCapture(path: string): Promise<Judged[]> {
  const file = await readEvidence(path, LARGEST)
  return file?.whole ? judge(readPcap(file.bytes).flatMap((frame) => readPacket(frame) ?? [])) : []
}

function wordsFor({total, conversation}: Excerpt): string {
  if (total === 0) return 'no packets'
  return conversation === undefined ? 'no packets' : `none of these packets among the ${total} of this capture`
}

/** A drawing in words, for those who do not see it. */
function spoken({packets}: Excerpt): string {
  const wrong = packets.filter(({right}) => right === false).length
  return `${packets.length} packets are drawn, ${wrong === 0 ? 'none of them wrong' : `${wrong} of them wrong`}`
}
