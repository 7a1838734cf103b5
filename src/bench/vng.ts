import {execa} from 'execa'
import {type KernelImage} from '../kernel/kernel.js'
import {findProgram} from '../lib/hostpath.js'

/**
 * Boots the kernel three times with virtme-ng and runs `true` in it: what three
 * variants cost by hand at the least, in s. Undefined where there is no virtme-ng.
 */
export async function threeVngRuns({vmlinuz}: KernelImage, accelerated: boolean): Promise<number | undefined> {
  const vng = await findProgram('vng')
  if (!vng) return undefined
  const started = performance.now()
  for (let run = 0; run < 3; run++) {
    const {exitCode} = await execa(vng, ['--run', vmlinuz, ...(accelerated ? [] : ['--disable-kvm']), '--exec', 'true'], {
      reject: false,
      stdin: 'ignore',
      timeout: 300_000,
    })
    if (exitCode !== 0) return undefined
  }
  return (performance.now() - started) / 1000
}
