import {z} from 'zod'
import {printable} from '../lib/text.js'

/** Words of the guest end up on the user's terminal. */
const words = z.string().transform(printable)

/** What the guest's agent says on the protocol port, one JSON object a line (vm/agent.py). */
const event = z.discriminatedUnion('event', [
  z.object({event: z.literal('ready'), release: z.string(), log: z.string()}),
  z.object({event: z.literal('start')}),
  z.object({event: z.literal('step'), index: z.number(), name: z.string()}),
  z.object({event: z.literal('ktap'), line: words}),
  z.object({event: z.literal('done'), index: z.number(), seconds: z.number(), exit: z.number().optional()}),
  z.object({event: z.literal('failed'), index: z.number(), reason: words}),
  z.object({event: z.literal('shell')}),
  z.object({event: z.literal('end')}),
])

export type GuestEvent = z.infer<typeof event>

/** One line of the protocol; undefined when it is none, which means that the channel cannot be trusted any more. */
export function parseEvent(line: string): GuestEvent | undefined {
  try {
    return event.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}
