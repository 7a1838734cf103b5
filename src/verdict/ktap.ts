import {Parser} from 'tap-parser'

/** What one test said. */
export type TestOutcome = {
  name: string
  status: 'passed' | 'failed' | 'skipped'
  /** The diagnostic lines before the result: what was seen. */
  observed: string
}

/** Of what a reproducer saw, the part up to the first semicolon. */
export function inShort(observed: string): string {
  return observed.split(/[\n;]/)[0]!
}

/** A reproducer's KTAP (Documentation/dev-tools/ktap.rst), and whether it is whole. */
export type Ktap = {
  tests: TestOutcome[]
  /** Why the output cannot be taken for a complete run, in one sentence. */
  broken?: string
}

/** Reads KTAP; nested tests count as the one result line that closes them. */
export function parseKtap(text: string): Ktap {
  const tests: TestOutcome[] = []
  let planned: number | undefined
  let diagnostics: string[] = []
  let bailed: string | undefined
  const parser = new Parser()
  parser.on('plan', (plan) => (planned = plan.end - plan.start + 1))
  parser.on('comment', (comment) => diagnostics.push(comment.replace(/^# ?/, '').trimEnd()))
  parser.on('bailout', (reason) => (bailed = reason || 'without a reason'))
  parser.on('assert', (result) => {
    const status = result.skip ? 'skipped' : result.ok ? 'passed' : 'failed'
    const observed = typeof result.skip === 'string' ? result.skip : diagnostics.join('\n')
    tests.push({name: result.name.trim(), status, observed})
    diagnostics = []
  })
  parser.end(text)
  const broken = whyBroken(tests, planned, bailed)
  return broken === undefined ? {tests} : {tests, broken}
}

function whyBroken(tests: readonly TestOutcome[], planned: number | undefined, bailed: string | undefined): string | undefined {
  if (bailed !== undefined) return `the reproducer bailed out: ${bailed}`
  if (tests.length === 0) return 'the reproducer printed no test result'
  if (planned === undefined) return 'the reproducer printed no plan (1..N), so a test may be missing'
  if (planned !== tests.length) return `the reproducer planned ${planned} tests and printed ${tests.length}`
  return undefined
}
