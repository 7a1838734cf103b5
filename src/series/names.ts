const ESCAPES: Record<string, number> = {a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, '\\': 92}

/** A file name as git writes it in a diff: plain, or quoted in the way of C. */
export function unquote(name: string): string {
  if (!name.startsWith('"')) return name
  const bytes: Buffer[] = []
  const body = name.slice(1, name.lastIndexOf('"') || undefined)
  for (const [, octal, letter, plain] of body.matchAll(/\\([0-3][0-7]{2})|\\(.)|([^\\]+)/gsu)) {
    if (plain !== undefined) bytes.push(Buffer.from(plain))
    else bytes.push(Buffer.from([octal === undefined ? (ESCAPES[letter!] ?? letter!.charCodeAt(0)) : Number.parseInt(octal, 8)]))
  }
  return Buffer.concat(bytes).toString()
}

/** A name without its first part (`a/`, `b/`), as `git am` takes it; undefined for /dev/null. */
export function withoutPrefix(name: string): string | undefined {
  if (name === '/dev/null') return undefined
  // Absolute names stay what they are: they are refused, not mended.
  if (name.startsWith('/')) return name
  return name.includes('/') ? name.slice(name.indexOf('/') + 1) : name
}

/** The two names of a `diff --git` line; undefined where a blank could belong to either. */
export function namesOfHeader(line: string): [string, string] | undefined {
  const rest = line.slice('diff --git '.length)
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)$/.exec(rest)
  if (quoted) return [unquote(quoted[1]!), unquote(quoted[2]!)]
  // Names with blanks are told apart only where both are the same.
  const middle = (rest.length - 1) / 2
  const [left, right] = [rest.slice(0, middle), rest.slice(middle + 1)]
  return rest[middle] === ' ' && withoutPrefix(left) === withoutPrefix(right) ? [left, right] : undefined
}
