import {readFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import {join} from 'node:path'
import {z} from 'zod'
import {checkName} from '../host/ssh.js'
import {systemCode} from '../lib/errors.js'
import {parseSettings} from '../lib/yaml.js'

const hostsSchema = z.strictObject({
  schema: z.literal(1),
  /** Hosts by the name of their group, in the order in which they are changed. */
  groups: z.record(z.string().regex(/^[A-Za-z][\w-]*$/, 'expected letters, digits and hyphens'), z.array(z.string()).min(1, 'expected at least one host')),
})

/** Where the hosts file is that nobody named. */
export function hostsFile(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'patchbench/hosts.yaml')
}

/**
 * The hosts that some words mean: those of a group, or a host as for ssh. Each
 * once, in the order of the words and of the file.
 *
 * @param file the hosts file; where it is left out, the user's own if there is one
 * @throws InputError when it is damaged, or when a name is none for ssh
 */
export async function hostsOf(words: readonly string[], file: string | undefined): Promise<string[]> {
  const groups = await readGroups(file)
  const hosts = [...new Set(words.flatMap((word) => groups[word] ?? [word]))]
  for (const host of hosts) checkName(host)
  return hosts
}

async function readGroups(named: string | undefined): Promise<Record<string, string[]>> {
  const file = named ?? hostsFile()
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (named === undefined && systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  return text === undefined ? {} : parseHosts(text, file)
}

/** Parses the text of a hosts file; `file` is for messages. */
export function parseHosts(text: string, file: string): Record<string, string[]> {
  return parseSettings(text, file, hostsSchema, "write 'schema: 1' and 'groups: {lab: [root@lab1, root@lab2]}'").groups
}
