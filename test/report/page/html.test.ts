import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {beforeEach, describe, expect, it} from 'vitest'
import {pageHtml} from '../../../src/report/page/html.js'
import {readRun} from '../../../src/run/folder.js'
import {FIXED, resultWith} from '../../support/results.js'
import {BASE, LIVE, PLACE, richRun, runFolderWith} from '../../support/run.js'

const page = async (folder: string): Promise<string> => await pageHtml(await readRun(folder))

/** What a reader sees, a space between elements. */
const textOf = (html: string): string => html.replace(/<style>.*?<\/style>/s, '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')

describe('a page', () => {
  let html: string
  beforeEach(async () => void (html = await page(await richRun())))

  it('begins with the verdict', () => {
    expect(textOf(html.slice(html.indexOf('<body>')))).toMatch(/^ to the verdicts ✗ 1 of 6 verdicts are not as expected 2026-11-20/)
  })

  it('needs nothing from anywhere, and runs nothing', () => {
    expect(html).not.toMatch(/<(?:script|img|iframe|object|embed|form|base)\b|@import|url\(/i)
    const places = [...html.matchAll(/(?:href|src|action)="([^"]*)"/g)].map(([, place]) => place!)
    expect(places.filter((place) => !/^(?:#|data:,$|data:application\/vnd\.tcpdump\.pcap;base64,)/.test(place))).toEqual([])
    expect(html).toContain(`default-src 'none'`)
    for (const [tag] of html.matchAll(/<[a-z][^>]*>/gi)) expect(tag).not.toMatch(/\son[a-z]+\s*=/i)
  })

  it('shows what guests, cases and patches say, and does not obey it', () => {
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(html.match(/\{\{about\}\}/g)!.length).toBeGreaterThan(8)
  })

  it('has every place that it links to, once', () => {
    const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!)
    expect(ids.filter((id, index) => ids.indexOf(id) !== index || !/^[\w-]+$/.test(id))).toEqual([])
    for (const [, target] of html.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target)
  })

  it('links a test to the line of KTAP that says so', () => {
    const [, link] = /<th scope="row">one-copy<\/th>.*?<a href="#([^"]*)">\u2717 failed/.exec(html)!
    expect(html).toContain(`<span id="${link}">not ok 1 one-copy</span>`)
  })

  it('draws the packets before and after, with who they are between', () => {
    const drawings = [...html.matchAll(/<svg class="sequence".*?<\/svg>/gs)].map(([svg]) => svg)
    const before = drawings.find((svg) => svg.includes('symptom, base:'))!
    const after = drawings.find((svg) => svg.includes('symptom, livepatched, input:'))!
    expect(before).toContain('5 packets are drawn, 3 of them wrong')
    expect(before.match(/<g class="wrong">/g)).toHaveLength(3)
    expect(before).toMatch(/>router<\/text>/)
    expect(before).toContain('a loop')
    expect(after.match(/<g class="right">/g)).toHaveLength(2)
    expect(after).not.toContain('<g class="wrong">')
    expect(drawings.find((svg) => svg.includes('symptom-client, base:'))).toContain('to 02:00:00:00:01:00, not 02:00:00:00:01:01')
  })

  it('draws the transitions of a livepatch, and counts the packets that went wrong', () => {
    expect(textOf(html)).toContain('input , load: transition of 0.75 s , unload: transition of 0.40 s')
    expect(html.match(/<rect class="state transition"/g)).toHaveLength(2)
    expect(html.match(/<rect class="state on"/g)).toHaveLength(1)
    expect(textOf(html)).toMatch(/livepatched: 0 of 39 captured packets gone wrong; reverted: 12 of 42 captured packets gone wrong/)
  })

  it('draws stacks as wide as they are frequent', () => {
    const [svg] = /<svg class="stacks".*?<\/svg>/s.exec(html)!
    expect([...svg.matchAll(/<title>([^<]*): (\d)<\/title><rect class="frame[^"]*" x="([\d.]+)" y="\d+" width="([\d.]+)"/g)].map(([, name, count, x, width]) => [name!.slice(0, 11), count, x, width])).toEqual([
      ['ip_rcv', '4', '0', '760'],
      ['ip_mr_input', '3', '0', '570'],
      ['&lt;script&', '1', '570', '190'],
      ['ip_mr_forwa', '3', '0', '570'],
      ['ip_mr_forwa', '1', '570', '190'],
    ])
  })

  it('lets a long text be scrolled by keyboard', () => {
    // The command at the foot is never as high.
    expect(html.match(/<pre>[^]*?<\/pre>/g)).toHaveLength(1)
  })

  it('has selftests, reasons, repeats, and how to do it again', () => {
    const text = textOf(html)
    expect(text).toContain('regressed (expected fixed) 3 times')
    expect(text).toMatch(/a second reason\s+a third\s+a fourth\s+2 more\s+a fifth/)
    expect(text).toContain('? no result')
    expect(text.slice(text.indexOf('How to reproduce'))).toMatch(/patchbench compare.*patchbench reproduce FILE/s)
    expect(html).not.toMatch(/\[object Object\]|undefined|NaN/)
  })
})

describe('evidence in a page', () => {
  it('is cut, and says so', async () => {
    const html = await page(await runFolderWith({files: {[`${BASE}/kernel.log`]: `${'line '.repeat(10)}\n`.repeat(2000)}}))
    expect(html.length).toBeLessThan(80_000)
    expect(html).toContain('There is more of it in the file.')
  })

  it('leaves out links, binaries and what is empty', async () => {
    const folder = await runFolderWith({files: {[`${BASE}/binary`]: 'secret\0', [`${BASE}/stderr`]: ''}})
    const html = await page(folder)
    expect(html).not.toContain('secret')
    expect(html).not.toContain('stderr')
  })

  it('has captures for other tools', async () => {
    const html = await page(await runFolderWith({files: {[`${BASE}/symptom.txt`]: 'a packet\n'}, captures: {[`${BASE}/symptom.pcap`]: 'ipmr-base'}}))
    const [, data] = /href="data:application\/vnd\.tcpdump\.pcap;base64,([^"]*)"/.exec(html)!
    expect(Buffer.from(data!.replaceAll('&#x3D;', '='), 'base64')).toHaveLength(359)
  })

  it('may be broken in every file', async () => {
    const folder = await runFolderWith({captures: {[`${BASE}/symptom.pcap`]: 'ipmr-base', [`${LIVE}/symptom.pcap`]: 'ipmr-fixed'}})
    for (const [path, text] of [[`${BASE}/parties.json`, '{"a": 1}'], [`${LIVE}/symptom.pcap`, 'no capture'], ['input-livepatched+reverted-1/steps.json', '[{"name": 1}]']] as const) await writeFile(join(folder, PLACE, path), text)
    const html = await page(folder)
    expect(html).toContain('no packets')
    expect(html).not.toContain('<svg class="timeline"')
  })

  it('may be gone', async () => {
    expect(await page(await runFolderWith())).toContain('All 3 verdicts are as expected')
  })
})

it('a page tells a bad verdict that is expected from a good one', async () => {
  const html = await page(await runFolderWith({results: [FIXED[0]!, resultWith({variant: 'patched', candidate: 'wrong', verdict: 'regressed', expected: 'regressed'})]}))
  expect(html).toContain('<h1 class="good">')
  expect(html).toMatch(/badge odd[^>]*><span aria-hidden="true">✓<\/span> regressed/)
})
