import {type FilePatch} from '../series/diff.js'
import {type Patch} from '../series/series.js'
import {optionsOf} from '../tree/options.js'
import {type History} from './fixes.js'
import {isForNetdev} from './netdev.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'

/** What a series has to bring along with what it touches: Kconfig entries, documentation, selftests. */
export async function checkExpected(signal: AbortSignal, patches: readonly Patch[], base: History): Promise<Row[]> {
  return [
    ...rowsOf('kconfig', null, await kconfigComplaints(signal, patches, base)),
    ...rowsOf('documentation', null, documentationComplaints(patches)),
    selftestRow(patches),
  ]
}

/** Lines that a file gets, with their numbers in the file after the patch. */
export function addedLines({hunks}: FilePatch): {line: number; text: string}[] {
  return hunks.flatMap(({newStart, lines}) => {
    let line = newStart - 1
    return lines.flatMap((text) => {
      if (text.startsWith('-') || text.startsWith('\\')) return []
      line += 1
      return text.startsWith('+') ? [{line, text: text.slice(1)}] : []
    })
  })
}

type Use = {name: string; place: string}

/** Names that a pattern's first group finds in added lines of some files. */
function named(patches: readonly Patch[], files: RegExp, pattern: RegExp): Use[] {
  const touched = patches.flatMap((patch) => patch.files).filter(({path, kind}) => kind !== 'delete' && files.test(path))
  return touched.flatMap((file) =>
    addedLines(file).flatMap(({line, text}) => [...text.matchAll(pattern)].map(([, name = '']) => ({name, place: `${file.path}:${line}`}))),
  )
}

async function kconfigComplaints(signal: AbortSignal, patches: readonly Patch[], base: History): Promise<Complaint[]> {
  const used = named(patches, /(?:\.[ch]|(?:^|\/)(?:Makefile|Kbuild))$/, /\bCONFIG_(\w+?)(?:_MODULE)?\b/g)
  const brought = new Set(named(patches, /(?:^|\/)Kconfig[^/]*$/, /^\s*(?:menu)?config (\w+)/g).map(({name}) => name))
  const open = [...new Map(used.filter(({name}) => !brought.has(name)).map((use) => [use.name, use])).values()]
  if (open.length === 0) return []
  const defined = await optionsOf(signal, base, open.map(({name}) => name))
  return open
    .filter(({name}) => !defined.has(name))
    .map(({name, place}) => ({state: 'failed', place, reason: `CONFIG_${name} is used, and no Kconfig file of the tree or the series has 'config ${name}'`}))
}

function documentationComplaints(patches: readonly Patch[]): Complaint[] {
  const words = patches.flatMap((patch) => patch.files).filter(({path}) => path.startsWith('Documentation/')).flatMap(addedLines).map(({text}) => text).join('\n')
  const sysctls = named(patches, /^(?!tools\/).*\.c$/, /\.procname\s*=\s*"([^"]+)"/g)
  const complaints: Complaint[] = sysctls
    .filter(({name}) => !words.includes(name))
    .map(({name, place}) => ({state: 'warned', place, reason: `the sysctl ${name} is in no line that the series adds to Documentation/`}))
  const interfaces = patches.flatMap(({files}) => files.filter((file) => /^include\/uapi\//.test(file.path) && addedLines(file).some(({text}) => /^\s*(?:#\s*define\s|[A-Z]\w*(?:\s*=[^,]*)?,)/.test(text))))
  if (interfaces.length > 0 && words === '') {
    complaints.push({state: 'warned', place: interfaces[0]!.path, reason: 'an interface to user space grows, and nothing of Documentation/ is touched'})
  }
  return complaints
}

function selftestRow(patches: readonly Patch[]): Row {
  if (!isForNetdev({patches})) return notRun('selftest', null, "expected of series for the network only")
  const paths = patches.flatMap(({files}) => files.map(({path}) => path))
  const code = paths.find((path) => /^(?:net|drivers\/net|include\/net|include\/linux|include\/uapi)\//.test(path) && !isTest(path))
  if (code === undefined || paths.some(isTest)) return rowsOf('selftest', null, [])[0]!
  return rowsOf('selftest', null, [{state: 'warned', place: code, reason: 'code without a selftest: netdev wants one in tools/testing/selftests/ in the same series'}])[0]!
}

function isTest(path: string): boolean {
  return path.startsWith('tools/testing/selftests/') || /[_-](?:kunit|test)\.c$/.test(path)
}
