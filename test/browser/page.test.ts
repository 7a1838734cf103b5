// npm run test:browser: the HTML report in a real Chromium. PATCHBENCH_RUN=FOLDER tries the page of that run as well.
import {readFile, writeFile} from 'node:fs/promises'
import {createRequire} from 'node:module'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {type Browser, type BrowserContextOptions, chromium, type Page} from 'playwright-core'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {pageHtml} from '../../src/report/page/html.js'
import {readRun} from '../../src/run/folder.js'
import {richRun} from '../support/run.js'
import {scratch} from '../support/scratch.js'

const wanted = Boolean(process.env.PATCHBENCH_BROWSER)
const runs: [string, () => Promise<string>][] = [['a run with everything', richRun]]
if (process.env.PATCHBENCH_RUN) runs.push([process.env.PATCHBENCH_RUN, async () => await Promise.resolve(process.env.PATCHBENCH_RUN!)])

const THEMES = ['light', 'dark'] as const
const WIDTHS = [360, 1440]
const VIEWS = THEMES.flatMap((theme) => WIDTHS.map((width) => [theme, width] as const))

let browser: Browser
beforeAll(async () => {
  // Chromium's own sandbox refuses to run as root; the page is ours.
  if (wanted) browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: process.getuid!() === 0 ? ['--no-sandbox'] : []})
})
afterAll(async () => await browser?.close())

describe.runIf(wanted).each(runs)('the page of %s', {timeout: 300_000}, (_, run) => {
  /** Opens the page; what it said to the console and what it asked for is kept. */
  async function open(options: BrowserContextOptions = {}): Promise<{page: Page; said: string[]; asked: string[]}> {
    const path = join(await scratch(), 'report.html')
    await writeFile(path, await pageHtml(await readRun(await run())))
    const context = await browser.newContext(options)
    const page = await context.newPage()
    const said: string[] = []
    const asked: string[] = []
    page.on('console', (message) => said.push(message.text()))
    page.on('pageerror', (error) => said.push(String(error)))
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(pathToFileURL(path).href)
    return {page, said, asked: asked.filter((url) => url !== pathToFileURL(path).href && !url.startsWith('data:'))}
  }

  const unfold = async (page: Page) => await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")

  test.each(VIEWS)('says nothing to the console, asks for nothing and fits, %s at %i px', async (theme, width) => {
    const {page, said, asked} = await open({colorScheme: theme, viewport: {width, height: 900}})
    expect(await outside(page)).toEqual([])
    await unfold(page)
    expect(await outside(page)).toEqual([])
    expect(await cut(page)).toEqual([])
    expect({said, asked}).toEqual({said: [], asked: []})
    await page.context().close()
  })

  test.each(THEMES)('has no fault that axe finds, %s', async (theme) => {
    const {page} = await open({colorScheme: theme, viewport: {width: 1440, height: 900}, bypassCSP: true})
    await unfold(page)
    await page.addScriptTag({content: await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')})
    const found = (await page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")) as {violations: {id: string; nodes: {html: string; failureSummary: string}[]}[]}
    expect(found.violations.map(({id, nodes}) => [id, nodes.length, nodes[0]!.html.slice(0, 200), nodes[0]!.failureSummary])).toEqual([])
    await page.context().close()
  })

  // axe leaves SVG out. WCAG 2.1, 1.4.3 and 1.4.11: text 4.5 to 1, graphics 3 to 1.
  test.each(THEMES)('has drawings with contrast, %s', async (theme) => {
    const {page} = await open({colorScheme: theme})
    await unfold(page)
    expect(await faint(page)).toEqual([])
    await page.context().close()
  })

  test('is read by keyboard in the order of the page, with the focus to be seen', async () => {
    const {page} = await open({viewport: {width: 1440, height: 900}})
    const expected = (await page.evaluate(FOCUSABLE)) as string[]
    const seen: string[] = []
    for (let presses = 0; presses < Math.min(expected.length, 60); presses++) {
      await page.keyboard.press('Tab')
      const [what, outline] = (await page.evaluate(FOCUSED)) as [string, string]
      seen.push(what)
      expect(outline, what).not.toMatch(/none|^0px/)
    }
    expect(seen).toEqual(expected.slice(0, 60))
    expect(seen[0]).toContain('#verdicts')
    await page.context().close()
  })

  test('works without scripts: a number leads to its evidence, and its fold opens', async () => {
    const {page} = await open({javaScriptEnabled: false})
    const link = page.locator('section.pair td a[href*="-f"]').first()
    const target = page.locator(`[id="${(await link.getAttribute('href'))!.slice(1)}"]`)
    expect(await target.isVisible()).toBe(false)
    await link.click()
    expect(await target.isVisible()).toBe(true)
    await page.context().close()
  })

  test('prints with its folds open', async () => {
    const {page} = await open({javaScriptEnabled: false})
    await page.emulateMedia({media: 'print'})
    expect((await page.locator('pre[id]').first().boundingBox())?.height).toBeGreaterThan(0)
    expect((await page.pdf()).subarray(0, 5).toString()).toBe('%PDF-')
    await page.context().close()
  })
})

/** What reaches out of the window sideways and is not in a part that scrolls. */
async function outside(page: Page): Promise<unknown> {
  return await page.evaluate(`[
    ...(document.documentElement.scrollWidth > innerWidth ? ['the page'] : []),
    ...[...document.querySelectorAll('body *:not(.skip)')]
      .filter((one) => !one.closest('.scroll, svg') || one.matches('.scroll'))
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
      .map((one) => one.outerHTML.slice(0, 100)),
  ]`)
}

/** Texts of drawings that reach out of them. */
async function cut(page: Page): Promise<unknown> {
  return await page.evaluate(`[...document.querySelectorAll('svg text')].filter((text) => {
    const [own, whole] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()]
    return own.width > 0 && (own.left < whole.left - 1 || own.right > whole.right + 1 || own.bottom > whole.bottom + 1)
  }).map((text) => text.textContent)`)
}

/** What in drawings has too little contrast with what is behind it. */
async function faint(page: Page): Promise<unknown> {
  return await page.evaluate(`(() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
    const light = (colour) => channels(colour).map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)).reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0)
    const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)
    const behind = (one) => {
      for (let at = one.closest('svg').parentElement; at; at = at.parentElement) {
        const {backgroundColor} = getComputedStyle(at)
        if (!/, 0\\)$/.test(backgroundColor)) return backgroundColor
      }
    }
    const found = new Set()
    for (const one of document.querySelectorAll('svg text, svg tspan')) {
      const rect = one.closest('g')?.querySelector('rect')
      const back = rect ? getComputedStyle(rect).fill : behind(one)
      const ratio = contrast(getComputedStyle(one).fill, back)
      if (ratio < 4.5) found.add(one.getAttribute('class') + ' on ' + back + ': ' + ratio.toFixed(2))
    }
    for (const one of document.querySelectorAll('svg .arrow, svg .head, svg .bar, svg .state')) {
      const {fill, stroke} = getComputedStyle(one)
      const ratio = contrast(stroke === 'none' ? fill : stroke, behind(one))
      if (ratio < 3) found.add(one.getAttribute('class') + ': ' + ratio.toFixed(2))
    }
    return [...found]
  })()`)
}

const NAME = `(one) => one.tagName + ' ' + (one.getAttribute('href') ?? one.getAttribute('aria-label') ?? one.textContent).slice(0, 80)`
const FOCUSABLE = `[...document.querySelectorAll('a[href], summary, [tabindex="0"]')].filter((one) => one.checkVisibility({contentVisibilityAuto: true}) && !one.parentElement.closest('details:not([open]) > :not(summary)') && !(one.matches('details:not([open]) > :not(summary)'))).map(${NAME})`
const FOCUSED = `[(${NAME})(document.activeElement), getComputedStyle(document.activeElement).outline]`
