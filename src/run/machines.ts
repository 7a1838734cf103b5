import {type Case} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {readListFile} from '../lib/listfile.js'
import {projectPath} from '../lib/project.js'
import {type Accelerator, type Hardware} from '../machine/qemu.js'
import {guestRoot, rootFromTar} from '../machine/root.js'
import {snapshot, type Snapshot} from '../machine/snapshot.js'

/** The booted machine that a case's sessions on a kernel start from. */
export async function caseSnapshot(
  context: Context,
  {reproducer}: Case,
  kernel: Kernel,
  {accelerator, rootTar}: {accelerator: Accelerator; rootTar?: string},
): Promise<Snapshot> {
  const root = rootTar ? await rootFromTar(context, rootTar) : await guestRoot(context, reproducer.packages)
  const modules = {required: reproducer.modules, optional: await readListFile(projectPath('vm/modules'))}
  const virtualTime = reproducer.time === 'virtual'
  // Virtual time counts emulated instructions: KVM has none.
  const hardware: Hardware = {accelerator: virtualTime ? 'tcg' : accelerator, memory: reproducer.memory, cpus: 1, virtualTime}
  return await snapshot(context, {kernel, root, hardware, modules})
}
