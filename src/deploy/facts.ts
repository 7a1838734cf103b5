import {readFile} from 'node:fs/promises'
import {type Host, scriptOnHost} from '../host/ssh.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {buildIdOf} from '../livepatch/elf.js'
import {sectionsOf} from './sections.js'

/** What a host says of itself (facts.sh). What it did not say is undefined, or empty where nothing can be a answer. */
export type HostFacts = {
  uid: number | undefined
  /** uname -r, -m and -v. */
  release: string
  machine: string
  version: string
  /** Options of the running kernel's configuration, as .config has them; undefined where none was found. */
  config: Record<string, string> | undefined
  /** Whether /sys/kernel/livepatch is there. */
  livepatch: boolean
  /** Whether module.sig_enforce is on. */
  enforced: boolean | undefined
  /** The mode of lockdown that is on: none, integrity, confidentiality. */
  lockdown: string | undefined
  /** Descriptions of asymmetric keys (/proc/keys), which end with the key's identifier. */
  keys: string[]
  /** The bits of /proc/sys/kernel/tainted. */
  tainted: number | undefined
  /** MiB that can be had. */
  memory: number | undefined
  modules: string[]
  /** Programs that are needed and not there. */
  missing: string[]
  livepatches: LoadedLivepatch[]
  /** Where functions of the names that were asked for are. */
  symbols: {name: string; /** undefined for vmlinux. */ module: string | undefined}[]
  /** Whether ftrace's lists could be read. */
  tracing: boolean
  traceable: string[]
  traced: {name: string; /** Letters of enabled_functions: R, I, D, O, M. */ flags: string}[]
  kprobes: {name: string; offset: number; text: string}[]
  /** Build IDs of loaded modules. */
  builds: Record<string, string>
  /** The file that has the kernel's CRCs; undefined where there is none. */
  symvers: string | undefined
  crcs: Record<string, number>
}

export type LoadedLivepatch = {
  name: string
  enabled: boolean
  transition: boolean
  /** Whether it takes all others out; older kernels do not say. */
  replace: boolean | undefined
  functions: {object: string; name: string}[]
}

/** What is asked about. */
export type Questions = {functions: readonly string[]; modules: readonly string[]; symbols: readonly string[]}

/**
 * Asks a host what it is like; nothing is changed there.
 *
 * @throws CouldNotRun when the answer is none
 */
export async function gatherFacts(context: Context, host: Host, {functions, modules, symbols}: Questions): Promise<HostFacts> {
  const script = await readFile(projectPath('src/deploy/facts.sh'), 'utf8')
  const {stdout} = await scriptOnHost(context, host, script, [functions, modules, symbols].map((names) => names.join(' ')), {limit: 4 << 20, deadline: 120_000})
  return parseFacts(stdout.toString('utf8'), host.name)
}

/** Reads what facts.sh printed. */
export function parseFacts(text: string, host: string): HostFacts {
  const sections = sectionsOf(printable(text))
  const lines = (name: string) => sections.get(name) ?? []
  const [release, machine, version] = ['release', 'machine', 'version'].map((name) => lines(name)[0])
  if (release === undefined || machine === undefined || version === undefined) throw new CouldNotRun(`${host} did not say which kernel it runs`, printable(text).slice(0, 500))
  const config = lines('config')
  return {
    ...{release, machine, version},
    uid: numberIn(lines('uid')[0]),
    config: config.length > 0 ? configIn(config) : undefined,
    livepatch: lines('livepatch').length > 0,
    enforced: yesOrNo(lines('enforced')[0]),
    lockdown: /\[(\w+)\]/.exec(lines('lockdown')[0] ?? '')?.[1],
    keys: lines('keys').flatMap((line) => /\basymmetri\w*\s+(.*): \S+ [\da-f]* \[.*\]$/.exec(line)?.[1] ?? []),
    tainted: numberIn(lines('tainted')[0]),
    memory: mebibytes(lines('memory')[0]),
    modules: lines('modules'),
    missing: lines('missing'),
    livepatches: livepatchesIn(lines('livepatches')),
    symbols: lines('kallsyms').flatMap(symbolIn),
    tracing: lines('tracing').length > 0,
    traceable: lines('traceable').map((line) => line.split(' ')[0]!),
    traced: lines('traced').flatMap(tracedIn),
    kprobes: lines('kprobes').flatMap(kprobeIn),
    builds: Object.fromEntries(lines('builds').flatMap(buildIn)),
    symvers: lines('symvers').find(Boolean),
    crcs: Object.fromEntries(lines('crcs').map((line) => line.split('\t')).map(([crc, name]) => [name!, Number(crc)])),
  }
}

function numberIn(line: string | undefined): number | undefined {
  return line !== undefined && /^\d+$/.test(line) ? Number(line) : undefined
}

function yesOrNo(line: string | undefined): boolean | undefined {
  return line === undefined ? undefined : /^[Y1]/.test(line)
}

function mebibytes(line: string | undefined): number | undefined {
  const kibibytes = numberIn(line)
  return kibibytes === undefined ? undefined : Math.floor(kibibytes / 1024)
}

function configIn(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(lines.map((line) => {
    const [, off] = /^# (CONFIG_\w+) is not set$/.exec(line) ?? []
    const [, name, value] = /^(CONFIG_\w+)=(.*)$/.exec(line) ?? []
    return [off ?? name ?? line, off === undefined ? (value ?? '') : 'n']
  }))
}

function livepatchesIn(lines: readonly string[]): LoadedLivepatch[] {
  const found = new Map<string, LoadedLivepatch>()
  for (const line of lines) {
    const [kind, name = '', ...rest] = line.split(' ')
    if (kind === 'patch') {
      const [enabled, transition, replace] = rest
      found.set(name, {name, enabled: enabled === '1', transition: transition === '1', replace: replace ? replace === '1' : undefined, functions: []})
    } else {
      const [object = '', target = ''] = rest
      found.get(name)?.functions.push({object, name: target.replace(/,\d+$/, '')})
    }
  }
  return [...found.values()]
}

function symbolIn(line: string): HostFacts['symbols'] {
  const [, name, module] = /^\S+ [tTwW] (\S+)(?:\s+\[(\w+)\])?$/.exec(line) ?? []
  return name === undefined ? [] : [{name, module}]
}

/** kernel/trace/ftrace.c, t_show(): `name [module] (1) R I   tramp: ...` */
function tracedIn(line: string): HostFacts['traced'] {
  const [, name, flags = ''] = /^(\S+)(?: \[\w+\])? \(\d+\)((?:\s+[RIDOM](?=\s|$))*)/.exec(line) ?? []
  return name === undefined ? [] : [{name, flags: flags.replaceAll(/\s/g, '')}]
}

/** kernel/kprobes.c, report_probe(): `address  k  name+0x0 [module] [FTRACE]` */
function kprobeIn(line: string): HostFacts['kprobes'] {
  const [, name, offset] = /\s([A-Za-z_][\w.]*)\+0x([\da-f]+)/.exec(line) ?? []
  return name === undefined || offset === undefined ? [] : [{name, offset: parseInt(offset, 16), text: line.trim().replace(/^\S+\s+/, '')}]
}

function buildIn(line: string): [string, string][] {
  const [name, note] = line.split(' ')
  const id = buildIdOf(Buffer.from(note ?? '', 'hex'))
  return name === undefined || id === undefined ? [] : [[name, id]]
}
