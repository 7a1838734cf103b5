/** A compiler's warning, as `file:line:column: warning: text [-Wname]` or one of objtool or modpost. */
const WARNING = /^(?:\.\.\/)*(\S+?):(\d+)(?::\d+)?: warning: (.*)$|^(?:WARNING: modpost: |\S+: warning: objtool: ).*$/

/** The warnings in what make printed, without the way up to the source folder. */
export function warningsIn(output: string): string[] {
  return output.split('\n').flatMap((line) => (WARNING.test(line) ? [line.replace(/^(?:\.\.\/)+/, '')] : []))
}

/** What sparse prints: its warnings and errors, without the `note:` lines that explain them. */
export function complaintsOfSparse(output: string): string[] {
  const lines = output.split('\n').filter((line) => /^(?:\.\.\/)*[^\s:]+:\d+(?::\d+)?: (?:warning|error): /.test(line))
  return lines.map((line) => line.replace(/^(?:\.\.\/)+/, ''))
}

/**
 * The warnings that were not there before. A warning that only moved to
 * another line is the same; one that is there twice and was there once is new.
 */
export function newWarnings(before: readonly string[], after: readonly string[]): string[] {
  const known = new Map<string, number>()
  for (const warning of before) known.set(unplaced(warning), (known.get(unplaced(warning)) ?? 0) + 1)
  return after.filter((warning) => {
    const left = known.get(unplaced(warning)) ?? 0
    known.set(unplaced(warning), left - 1)
    return left <= 0
  })
}

function unplaced(warning: string): string {
  return warning.replace(/:\d+(?::\d+)?: (warning|error):/, ': $1:').replace(/\+0x[\da-f]+/g, '+0x')
}
