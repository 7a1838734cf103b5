import {resolve} from 'node:path'
import {makeBundle} from '../bundle/bundle.js'
import {gitSigner} from '../bundle/sign.js'
import {type Context} from '../lib/context.js'
import {EXIT} from '../lib/errors.js'
import {findRun} from '../run/folder.js'
import {type RunRecord} from '../run/record.js'

export type BundleOptions = {output?: string; sign?: boolean; json?: boolean}

/** `patchbench bundle RUN`: all that somebody else needs to repeat a run, in one file. */
export async function bundleCommand(context: Context, run: string | undefined, options: BundleOptions): Promise<{text: string; exit: number}> {
  const folder = await findRun(run)
  // Told before anything is packed.
  const sign = options.sign ? await gitSigner(context.signal) : undefined
  const {file, sha256, bytes, manifest} = await makeBundle(context, folder, (record) => resolve(options.output ?? nameOf(record)), sign)
  const facts = {file, bytes, files: Object.keys(manifest.files).length, manifest: `sha256:${sha256}`, signed: sign !== undefined}
  if (options.json) return {text: JSON.stringify({schema: 1, ...facts}, null, 2), exit: EXIT.ok}
  const size = `${(bytes / 1e6).toFixed(1)} MB, ${facts.files} files`
  return {text: `${file}  ${size}\nmanifest.json  ${facts.manifest}${sign ? '  signed' : ''}\n\nWhoever has it: patchbench reproduce ${file.split('/').at(-1)}`, exit: EXIT.ok}
}

function nameOf({cases}: RunRecord): string {
  return `${cases.length <= 3 ? cases.map(({name}) => name).join('+') : 'cases'}.tar.zst`
}
