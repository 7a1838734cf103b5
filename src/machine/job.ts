import {cp, mkdtemp, realpath, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {create} from 'tar'

/** What a machine does, step by step; vm/agent.py has an operation for each. */
export type Step =
  | {op: 'modprobe'; name: string; modules: readonly string[]}
  | {op: 'reproduce'; name: string; program: string; environment: Record<string, string>; deadline?: number; probes?: readonly GuestProbe[]}
  | {op: 'load'; name: string; module: string; livepatch: string; parameters: readonly string[]; deadline: number}
  | {op: 'unload'; name: string; livepatch: string; deadline: number}
  | {op: 'shell'; name: string; environment: Record<string, string>; rows: number; columns: number}

/** A probe as vm/lib/probes.py installs it: every offset is a number, and each fetch argument has its name. */
export type GuestProbe = {
  name: string
  functions: readonly string[]
  module: string | null
  fetch: readonly string[]
  filter: string | null
  stack: boolean
  return: boolean
}

export type Job = {
  steps: readonly Step[]
  /** Files of the host by the name that the guest sees. */
  files: Record<string, string>
}

/** A job as the agent takes it: a line with the size, then a tar archive. */
export async function packJob({steps, files}: Job): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-job-'))
  try {
    // What a link leads to is not there in the guest.
    for (const [name, path] of Object.entries(files)) await cp(await realpath(path), join(folder, name), {recursive: true})
    await writeFile(join(folder, 'job.json'), JSON.stringify({time: Date.now() / 1000, steps}))
    const archive = await collect(create({cwd: folder, portable: true}, ['.']))
    return Buffer.concat([Buffer.from(`${JSON.stringify({size: archive.length})}\n`), archive])
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
