import {mkdir, readFile, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {artefact} from '../lib/cache.js'
import {runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {keyOf} from '../lib/hash.js'
import {type Kernel} from './kernel.js'
import {compilerVersion} from './make.js'

/** Where the structures of the network stack are declared. */
const HEADERS = ['linux/skbuff.h', 'linux/netdevice.h', 'linux/ipv6.h', 'net/ip.h', 'net/ip6_route.h', 'net/neighbour.h', 'net/route.h', 'net/sock.h', 'net/inet_sock.h']

/** And those that are there with the options that they belong to. */
const NETFILTER = ['net/netfilter/nf_conntrack.h', 'net/netfilter/nf_flow_table.h', 'net/netfilter/nf_nat.h', 'linux/netfilter/nf_conntrack_common.h']

const SECTION = '.patchbench_offsets'

/** Bytes from the start of a structure by `struct.member`, or why that is not known. */
export type Offsets = ReadonlyMap<string, number | string>

/**
 * Where members of a kernel's structures are. The compiler says it, from the
 * headers that livepatches are built with: BTF is only in the distribution's
 * kernels, and offsets differ from one configuration to the next.
 *
 * @param members `struct.member`, with members of members and array elements
 */
export async function memberOffsets(context: Context, kernel: Kernel, members: readonly string[]): Promise<Offsets> {
  const wanted = [...new Set(members)].sort()
  if (wanted.length === 0) return new Map()
  const inputs = {kernel: kernel.key, wanted, headers: [HEADERS, NETFILTER], compiler: await compilerVersion(context), steps: 1}
  const made = await artefact(context, 'layout', keyOf(inputs), inputs, async (into) => {
    const scratch = join(into, 'build')
    await mkdir(scratch)
    const found = await compiled(context, kernel, wanted, scratch)
    await rm(scratch, {recursive: true})
    await writeFile(join(into, 'offsets.json'), JSON.stringify(found))
  })
  const found = JSON.parse(await readFile(join(made.directory, 'offsets.json'), 'utf8')) as Record<string, number | string>
  return new Map(Object.entries(found))
}

/** Compiles all of them at once; where some are none, again without those. */
async function compiled(context: Context, kernel: Kernel, members: readonly string[], scratch: string): Promise<Record<string, number | string>> {
  const output = await compile(context, kernel, members, scratch)
  if (output === undefined) return await readOffsets(context, members, scratch)
  const complaints = complaintsAbout(output)
  const bad = members.filter((_, index) => complaints.has(index + 1))
  if (bad.length === 0) throw new CouldNotRun(`the headers of ${kernel.label} do not compile`, output)
  const why = Object.fromEntries(bad.map((member) => [member, complaints.get(members.indexOf(member) + 1)!]))
  const good = members.filter((member) => !bad.includes(member))
  return {...(good.length > 0 ? await compiled(context, kernel, good, scratch) : {}), ...why}
}

/** Builds the object; the compiler's complaints when there are some. */
async function compile(context: Context, kernel: Kernel, members: readonly string[], scratch: string): Promise<string | undefined> {
  const {build, prefix, before = []} = await kernel.headers(context)
  // What is in NOSTDINC_FLAGS comes before the kernel's own folders.
  await writeFile(join(scratch, 'Kbuild'), `obj-m := offsets.o\nNOSTDINC_FLAGS += ${before.map((folder) => `-I${folder}`).join(' ')}\n`)
  await writeFile(join(scratch, 'offsets.c'), offsetsSource(members))
  const {exitCode, all} = await runConfined(context, 'make', ['-C', build, `M=${scratch}`, 'CONFIG_DEBUG_INFO_BTF_MODULES=', 'offsets.o'], {reads: [prefix, ...before], writes: [scratch]}, {allowedExits: [0, 1, 2]})
  return exitCode === 0 ? undefined : all
}

/** A source whose section holds the offsets; a complaint about a member names its line, counted from 1. */
export function offsetsSource(members: readonly string[]): string {
  const optional = NETFILTER.map((header) => `#if __has_include(<${header}>)\n#include <${header}>\n#endif`)
  // Not offsetof: a complaint about a macro names the place where that is defined.
  const values = members.map((member) => `__builtin_offsetof(struct ${member.replace('.', ', ')}),`)
  const start = `const unsigned long patchbench_offsets[] __attribute__((section("${SECTION}"), used)) = {`
  return [...HEADERS.map((header) => `#include <${header}>`), ...optional, start, '#line 1 "members"', ...values, '};', ''].join('\n')
}

/** What the compiler says of each line of members: `members:3:1: error: ...`. */
function complaintsAbout(output: string): Map<number, string> {
  const found = new Map<number, string>()
  for (const [, line, words] of output.matchAll(/members:(\d+):\d+: error: (.*)$/gm)) {
    if (!found.has(Number(line))) found.set(Number(line), words!.replaceAll(/[‘’]/g, "'"))
  }
  return found
}

async function readOffsets(context: Context, members: readonly string[], scratch: string): Promise<Record<string, number>> {
  const raw = join(scratch, 'offsets.bin')
  await runConfined(context, 'objcopy', ['--output-target=binary', `--only-section=${SECTION}`, '--set-section-flags', `${SECTION}=alloc`, join(scratch, 'offsets.o'), raw], {reads: [], writes: [scratch]})
  const bytes = await readFile(raw)
  if (bytes.length !== members.length * 8) throw new CouldNotRun(`the compiler gave ${bytes.length} bytes for ${members.length} offsets`)
  return Object.fromEntries(members.map((member, index) => [member, Number(bytes.readBigUInt64LE(index * 8))]))
}
