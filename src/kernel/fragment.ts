import {readFile} from 'node:fs/promises'
import {relative} from 'node:path'
import {InputError} from '../lib/errors.js'

/** An option that a fragment asks for; `where` is its file and line, `since` the first kernel line that has it. */
export type Asked = {symbol: string; value: string; where: string; since?: string}

/**
 * The options of some kconfig fragments; of two that ask for the same symbol,
 * the later file is heard.
 *
 * @param line the kernel's, like 6.12: what is there only since a later one is left out. Nothing is where none is given
 * @throws InputError naming file and line of what kconfig would not read
 */
export async function readFragments(files: readonly string[], line?: string): Promise<Asked[]> {
  const asked = new Map<string, Asked>()
  for (const file of files) {
    for (const one of parseFragment(await readFile(file, 'utf8'), relative(process.cwd(), file))) asked.set(one.symbol, one)
  }
  return [...asked.values()].filter(({since}) => line === undefined || since === undefined || !isBefore(line, since))
}

/** Whether a kernel line comes before another, as 6.9 does before 6.14. */
function isBefore(a: string, b: string): boolean {
  return a.localeCompare(b, 'en', {numeric: true}) < 0
}

/** Refuses a case's fragment that cannot be read, before anything is fetched for it. */
export async function checkFragment(file: string | undefined): Promise<void> {
  if (file !== undefined) await readFragments([file])
}

/** Parses `CONFIG_NAME=value  # the reason`, where the reason may begin with `since 6.14:`, and kconfig's own `# CONFIG_NAME is not set`. */
export function parseFragment(text: string, file: string): Asked[] {
  return text.split('\n').flatMap((line, index) => {
    const where = `${file}:${index + 1}`
    const off = /^#\s*CONFIG_(\w+) is not set\s*$/.exec(line)
    if (off) return [{symbol: off[1]!, value: 'n', where}]
    if (/^\s*(#|$)/.test(line)) return []
    const [, symbol, value, since] = /^CONFIG_(\w+)=([ymn]|-?\d+|0x[\da-fA-F]+|"[^"\\]*")\s*(?:#(?:\s*since (\d+\.\d+):)?.*)?$/.exec(line) ?? []
    if (symbol && value) return [{symbol, value, where, ...(since ? {since} : {})}]
    throw new InputError(`${where}: '${line.trim()}' is no option: write CONFIG_NAME=y, m, n, a number or "text"`)
  })
}

/** The fragment that kconfig is given. */
export function fragmentText(asked: readonly Asked[]): string {
  return asked.map(({symbol, value}) => (value === 'n' ? `# CONFIG_${symbol} is not set\n` : `CONFIG_${symbol}=${value}\n`)).join('')
}
