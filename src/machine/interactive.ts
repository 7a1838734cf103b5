import {type Context} from '../lib/context.js'
import {type Job, packJob} from './job.js'
import {describeEnding, watch} from './monitor.js'
import {restore} from './session.js'
import {type Snapshot} from './snapshot.js'

/** A person may think for as long as they like. */
const PATIENT = {silence: 2 ** 31 - 1, progress: 2 ** 31 - 1, deadline: 2 ** 31 - 1}

/**
 * Restores a machine, does a job's steps and joins the terminal to its serial
 * console until the shell in it ends. Why it could not be done, if it could not.
 */
export async function interact(context: Context, snapshot: Snapshot, job: Job): Promise<string | undefined> {
  const machine = await restore(context, snapshot)
  let failure: string | undefined
  const {stdin, stdout} = process
  const leave = () => {
    stdin.setRawMode(false)
    stdin.unpipe(machine.console)
    stdin.pause()
  }
  try {
    machine.inward.write(await packJob(job))
    const ending = await watch({
      machine,
      limits: PATIENT,
      onConsole: (text) => void stdout.write(text),
      onEvent: (event) => {
        if (event.event === 'shell') {
          stdin.setRawMode(true)
          stdin.pipe(machine.console, {end: false})
        }
        if (event.event === 'failed') failure = event.reason
        return event.event === 'end'
      },
    })
    context.signal.throwIfAborted()
    // Powering the machine off from inside is a fair way to end it.
    return failure ?? (ending.kind === 'reached' || ending.kind === 'ended' ? undefined : describeEnding(ending, 'running the shell'))
  } finally {
    leave()
    await machine.kill()
  }
}
