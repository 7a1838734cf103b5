import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {parseTrace} from '../../src/trace/events.js'
import {packetsOf} from '../../src/trace/packets.js'
import {conntrackEvents} from '../../src/trace/timeline.js'
import {parseAbout, traceOf} from '../../src/trace/trace.js'

/** What machines left in traced sessions: the case `traced` of the fixtures, and ipmr-loopback. */
const folder = (name: string) => join(import.meta.dirname, 'recorded', name)

export function recorded(name: string, file: string): string {
  return readFileSync(join(folder(name), file), 'utf8')
}

/** The trace of a recording, put together as a comparison does it. */
export function recordedTrace(name: string, optional: string[] = []) {
  const files = readdirSync(folder(name))
  const packets = files
    .filter((file) => file.endsWith('.pcap'))
    .flatMap((file) => packetsOf(readFileSync(join(folder(name), file)), recorded(name, file.replace('.pcap', '.txt'))).map((packet) => ({...packet, capture: file.replace('.pcap', '')})))
  const conntrack = files.filter((file) => file.endsWith('.conntrack')).flatMap((file) => conntrackEvents(recorded(name, file), 'router'))
  return traceOf({about: parseAbout(recorded(name, 'trace.json'))!, events: parseTrace(recorded(name, 'trace')), packets, conntrack, optional})
}
