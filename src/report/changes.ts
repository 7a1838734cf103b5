import {type Result} from '../run/results.js'

/** What differs between two comparisons of one case, a sentence a line; nothing where they say the same. */
export function changesBetween(before: readonly Result[], after: readonly Result[]): string[] {
  return after.flatMap((now) => {
    const then = before.find((one) => isSameCell(one, now))
    if (!then) return [`${cellName(now)}: ${now.verdict}`]
    const verdict = then.verdict === now.verdict ? [] : [`${cellName(now)}: ${then.verdict} -> ${now.verdict}`]
    return [...verdict, ...testChanges(then, now)]
  })
}

function testChanges(then: Result, now: Result): string[] {
  return now.tests.flatMap(({name, variant, observed}) => {
    const was = then.tests.find((test) => test.name === name)?.variant ?? 'missing'
    if (was === variant) return []
    const seen = observed.variant.split('\n')[0]
    return [`  ${name}: ${was} -> ${variant}${seen ? ` (${seen})` : ''}`]
  })
}

function isSameCell(one: Result, other: Result): boolean {
  return one.kernel === other.kernel && one.variant === other.variant && one.candidate === other.candidate
}

function cellName({kernel, variant, candidate}: Result): string {
  return [kernel, variant, ...(candidate ? [candidate] : [])].join(', ')
}
