import {beforeEach, afterEach, describe, expect, it, vi} from 'vitest'
import {paced, runTasks} from '../../src/lib/tasks.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** What is said of texts that come at these seconds. */
function said(live: boolean, ...texts: [at: number, text: string][]): string[] {
  const lines: string[] = []
  const say = paced(live, (text) => void lines.push(text))
  const start = Date.now()
  for (const [at, text] of texts) {
    vi.setSystemTime(start + at * 1000)
    say(text)
  }
  return lines
}

describe('where lines are not redrawn, what is said', () => {
  it.each<[string, [number, string][], string[]]>([
    ['is a count now and then', [[0, 'built 1 of 10'], [1, 'built 2 of 10'], [19, 'built 9 of 10'], [20, 'built 10 of 10'], [21, 'built 11 of 10']], ['built 1 of 10', 'built 10 of 10']],
    ['is everything that differs in words', [[0, 'copying'], [0, 'building'], [0, 'copying']], ['copying', 'building', 'copying']],
    ['is a count again after something else', [[0, 'built 1'], [1, 'linking'], [2, 'built 2']], ['built 1', 'linking', 'built 2']],
    ['is the same text but once', [[0, 'waiting'], [1, 'waiting']], ['waiting']],
    ['is no count that only grew longer', [[0, 'built 9'], [1, 'built 1000']], ['built 9']],
  ])('%s', (_, texts, expected) => {
    expect(said(false, ...texts)).toEqual(expected)
  })
})

it('where lines are redrawn, everything is said', () => {
  expect(said(true, [0, 'built 1'], [0, 'built 2'])).toEqual(['built 1', 'built 2'])
})

it('the failure that is thrown is not told by the line of its task as well, another one is', async () => {
  vi.useRealTimers()
  const lines: string[] = []
  const spy = vi.spyOn(process.stderr, 'write').mockImplementation((text) => lines.push(String(text)) > 0)
  const failing = (title: string, wait: number) => ({title, run: async () => await new Promise<never>((_, reject) => setTimeout(() => reject(new Error(`why ${title} failed`)), wait))})
  const run = runTasks({signal: new AbortController().signal, cache: '', progress: () => {}}, [failing('one', 0), failing('two', 20)])
  await expect(run).rejects.toThrow('why one failed')
  spy.mockRestore()
  expect(lines.join('')).toMatch(/one.*told below/)
  expect(lines.join('')).not.toContain('why one failed')
  expect(lines.join('')).toContain('why two failed')
})
