/**
 * The sections of what our scripts print on a host: `@ NAME` begins one, and each
 * of its lines has a blank before it, so that no line of somebody else's begins one.
 */
export function sectionsOf(text: string): Map<string, string[]> {
  const sections = new Map<string, string[]>()
  let lines: string[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('@ ')) {
      lines = []
      sections.set(line.slice(2), lines)
    } else if (line.startsWith(' ')) {
      lines.push(line.slice(1))
    }
  }
  return sections
}
