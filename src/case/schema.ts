import {z} from 'zod'

const name = z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'expected small letters, digits and hyphens')
const packageName = z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/, 'expected a Debian package name')
const moduleName = z.string().regex(/^[A-Za-z0-9_-]+$/, 'expected a kernel module name')
const line = z.string().regex(/^\d+\.\d+$/, "expected a kernel line in quotes, like '6.12'")
const device = z.string().regex(/^[\w.@-]{1,15}$/, 'expected the name of a network device')
const parameterValue = z.union([z.string(), z.number(), z.boolean()]).transform(String)

const test = z.strictObject({
  name,
  about: z.string().min(1, 'expected some words'),
})

const verdict = z.enum(['fixed', 'not-fixed', 'regressed', 'not-reproduced'])

const livepatch = z.strictObject({
  /** The fix's name, for cases that have several. */
  name,
  /** Folder with the module's source, relative to case.yaml. */
  source: z.string(),
  /** The module's name as the kernel shows it. */
  module: z.string().regex(/^[a-z0-9_]+$/, 'expected a module name as in /proc/modules: small letters, digits and underscores'),
  /** The kernel lines that it is for; those of the case where it is left out. */
  kernels: z.array(line).min(1, 'expected at least one').optional(),
  /**
   * A shell script, relative to case.yaml, that says on a host of the user's whether the livepatch does its work there.
   * It has to leave the host as it is: see docs/writing-a-case.md.
   */
  probe: z.string().optional(),
  /** Module parameters given at load. */
  parameters: z.record(z.string().regex(/^\w+$/), parameterValue).default({}),
  /** The symptoms that this fix is for; all of them where it is left out. */
  claims: z.array(name).optional(),
  expect: z.strictObject({
    livepatched: verdict,
    reverted: z.enum(['restored', 'not-restored', 'regressed', 'not-reproduced']),
  }),
})

const candidate = z.strictObject({
  /** The folder under <tree>/ that holds its series, one folder a version line. */
  name,
  /** The symptoms that it is for; all of them where it is left out. */
  claims: z.array(name).optional(),
  /** The commit that its mails say they are made for. */
  base: z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'expected the whole hash of a commit, in quotes').optional(),
  /** Of a series of the kernel, `patched`; of another tree, `ruleset`. */
  expect: z.strictObject({patched: verdict.optional(), ruleset: verdict.optional()}),
})

const symbol = z.string().regex(/^[A-Za-z_][\w.]*$/, 'expected the name of a kernel function')

/** What kprobe-event syntax needs no blank, comment or second line for, with `{struct.member+struct.member}` as an offset. */
const fetchArgument = z
  .string()
  .max(200, 'expected 200 characters at the most')
  .regex(/^[^\s#;{}]*(?:\{\w+(?:\.\w+(?:\[\d+\])*)+(?:\+\w+(?:\.\w+(?:\[\d+\])*)+)*\}[^\s#;{}]*)*$/, "expected a fetch argument of a kprobe event, like '+{sk_buff.mark}($arg1):u32'")
  .regex(/^[\x21-\x7e]+$/, 'expected plain ASCII')

const probe = z.strictObject({
  /** What the report calls it. */
  name: z.string().regex(/^[a-z][a-z0-9_]{0,30}$/, 'expected up to 31 small letters, digits and underscores'),
  /** The function; of several, the first that the kernel has. */
  function: z.union([symbol.transform((one) => [one]), z.array(symbol).min(1, 'expected at least one').max(8, 'expected eight at the most')]),
  /** The module that the function belongs to, where it is none of the image. */
  module: z.string().regex(/^[a-z0-9_]+$/, 'expected a module name as in /proc/modules: small letters, digits and underscores').optional(),
  /** What is read when it fires, by name (Documentation/trace/kprobetrace.rst, FETCHARGS). */
  fetch: z.record(z.string().regex(/^[a-z_][a-z0-9_]{0,30}$/, 'expected small letters, digits and underscores'), fetchArgument).default({}),
  /** Which hits are recorded, in terms of what is fetched (Documentation/trace/events.rst, 5). */
  filter: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/, 'expected one line of plain ASCII, 200 characters at the most')
    .optional(),
  /** Whether the way to it is recorded. */
  stack: z.boolean().default(false),
  /** Whether it fires when the function returns; $retval is there then. */
  return: z.boolean().default(false),
  /** Whether kernels that do not have it are nothing to tell of. */
  optional: z.boolean().default(false),
})

const firewall4 = z.strictObject({
  /** The folder, relative to case.yaml, with what firewall4 asks a router, laid out as its own tests/mocks. */
  router: z.string(),
  /** More rulesets, which the reproducer loads by name: options of the section `defaults` that the router has besides. */
  variations: z.record(name, z.record(z.string().regex(/^\w+$/), parameterValue)).default({}),
})

/** case.yaml: what there is to prove, and with what. */
export const caseSchema = z.strictObject({
  schema: z.literal(1),
  title: z.string().min(1, 'expected some words'),
  /** What the candidates change; those of `ruleset` are files of the case. */
  tree: z.enum(['linux', 'firewall4', 'ruleset']),
  kernels: z.array(line).min(1, 'expected at least one'),
  reproducer: z.strictObject({
    /** The guest program, relative to case.yaml. */
    program: z.string(),
    /** Virtual time makes waiting free and computing slower; for reproducers that wait. */
    time: z.enum(['real', 'virtual']).default('real'),
    /** Seconds that one run may take under KVM; under TCG it gets four times as many. */
    deadline: z.number().positive().default(30),
    /** MiB of memory of the machine. */
    memory: z.number().int().min(256).max(16384).default(512),
    packages: z.array(packageName).default([]),
    modules: z.array(moduleName).default([]),
    parameters: z.record(name, parameterValue).default({}),
  }),
  symptoms: z.array(test).min(1, 'expected at least one'),
  controls: z.array(test).default([]),
  candidates: z.array(candidate).default([]),
  livepatches: z.array(livepatch).default([]),
  /** For rulesets: the devices that have to be there when one is loaded, as a flowtable's have. */
  ruleset: z.strictObject({devices: z.array(device)}).optional(),
  /** What a traced session records. */
  probes: z.array(probe).max(32, 'expected 32 at the most').default([]),
  /** For the tree `firewall4`: what its rulesets are rendered for. */
  firewall4: firewall4.optional(),
  /** A kconfig fragment beside case.yaml, for kernels that are built for this case. */
  kconfig: z.string().optional(),
})

export type CaseFile = z.infer<typeof caseSchema>
