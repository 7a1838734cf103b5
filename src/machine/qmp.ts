import {createInterface} from 'node:readline'
import {type Duplex} from 'node:stream'
import {CouldNotRun} from '../lib/errors.js'

type Reply = {return?: unknown; error?: {desc: string}; event?: string; QMP?: unknown}

/** QEMU's control protocol (docs/interop/qmp-spec), one command at a time. */
export class Qmp {
  readonly #channel: Duplex
  readonly #lines: AsyncIterator<string>

  private constructor(channel: Duplex) {
    this.#channel = channel
    this.#lines = createInterface({input: channel})[Symbol.asyncIterator]()
  }

  static async connect(channel: Duplex): Promise<Qmp> {
    const qmp = new Qmp(channel)
    await qmp.#reply((reply) => reply.QMP !== undefined)
    await qmp.execute('qmp_capabilities')
    return qmp
  }

  /** @throws CouldNotRun with QEMU's reason when it refuses, or when it is gone */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    this.#channel.write(`${JSON.stringify({execute: command, arguments: args})}\n`)
    const reply = await this.#reply((reply) => reply.return !== undefined || reply.error !== undefined)
    if (reply.error) throw new CouldNotRun(`QEMU refused ${command}: ${reply.error.desc}`)
    return reply.return
  }

  async #reply(wanted: (reply: Reply) => boolean): Promise<Reply> {
    while (true) {
      const {value, done} = await this.#lines.next()
      if (done) throw new CouldNotRun('QEMU ended while it was spoken to')
      const reply = JSON.parse(value as string) as Reply
      if (wanted(reply)) return reply
    }
  }
}
