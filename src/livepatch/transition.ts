/**
 * The messages of kernel/livepatch/{core,transition}.c for a load and an
 * unload; their order is a contract that the kernel's own selftests check.
 */
const MESSAGES = {
  load: (name: string) => [
    `livepatch: enabling patch '${name}'`,
    `livepatch: '${name}': starting patching transition`,
    `livepatch: '${name}': patching complete`,
  ],
  unload: (name: string) => [
    `livepatch: '${name}': starting unpatching transition`,
    `livepatch: '${name}': unpatching complete`,
  ],
}

/** What is wrong with the order of a transition's messages in a kernel log; undefined when nothing is. */
export function checkTransition(kind: 'load' | 'unload', module: string, log: string): string | undefined {
  const seen = [...log.matchAll(/livepatch: .*/g)].map(([message]) => message.trim()).filter((message) => message.includes(`'${module}'`))
  const known = new Set([...MESSAGES.load(module), ...MESSAGES.unload(module)])
  const relevant = seen.filter((message) => known.has(message))
  const expected = MESSAGES[kind](module)
  if (relevant.join('\n') === expected.join('\n')) return undefined
  const said = relevant.length > 0 ? relevant.map((message) => `"${message}"`).join(', ') : 'none of them'
  return `the kernel's livepatch messages of this ${kind} are not in order: expected ${expected.length}, it said ${said}`
}
