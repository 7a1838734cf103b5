import {execa} from 'execa'
import {cp, mkdir, readdir, readFile, rename, utimes, writeFile} from 'node:fs/promises'
import {hostname, userInfo} from 'node:os'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {makeBundle} from '../../src/bundle/bundle.js'
import {cutCapture, cutText} from '../../src/bundle/evidence.js'
import {checkPublic, sanitise, sanitiseCommand} from '../../src/bundle/sanitise.js'
import {unpackBundle} from '../../src/bundle/unpack.js'
import {projectRoot} from '../../src/lib/project.js'
import {sha256File} from '../../src/lib/hash.js'
import {storedRun} from '../support/bundle.js'
import {complaint} from '../support/complaint.js'
import {contextIn, scratch} from '../support/scratch.js'

const OWN = {paths: [['/home/ann/.cache/patchbench', '<cache>'], ['/home/ann', '<home>']], names: [['ann', '<user>'], ['annsbox', '<host>']]} as const

/** A file in a folder of the test's own. */
async function output(): Promise<string> {
  return join(await scratch(), 'one.tar.zst')
}

describe('a bundle of a run', () => {
  it('is the same bytes when it is made twice, wherever the run is and whatever its times', {timeout: 180_000}, async () => {
    const {folder, context} = await storedRun()
    const [one, two] = [await output(), await output()]
    const first = await makeBundle(context, folder, () => one)
    const moved = join(await scratch(), 'elsewhere')
    await rename(folder, moved)
    await mkdir(folder)
    for (const file of await readdir(join(moved, 'inputs/vm'))) await utimes(join(moved, 'inputs/vm', file), 1, 1)
    const second = await makeBundle(contextIn(join(await scratch(), 'other')), moved, () => two)
    expect(second.sha256).toBe(first.sha256)
    expect(await sha256File(two)).toBe(await sha256File(one))
    expect(first.bytes).toBeLessThan(3 << 20)
  })

  it('has nothing of this machine in it, and all that somebody else needs', {timeout: 180_000}, async () => {
    const home = join(await scratch(), 'home-of-the-author')
    const cases = join(home, 'cases')
    const {folder, context} = await storedRun({
      command: `patchbench compare shown --cases ${cases} --output ${home}/x --source https://ann:secret@example.org/linux.git`,
      reasons: [`the log is in ${home}/logs/1 and ${projectRoot}/dist`],
      log: `[    1.0] made in ${home}/build\n`,
    })
    await mkdir(home, {recursive: true})
    const before = process.env.HOME
    process.env.HOME = home
    const file = await output()
    try {
      await makeBundle({...context, cache: join(home, '.cache')}, folder, () => file)
    } finally {
      process.env.HOME = before
    }
    const into = await scratch()
    const {manifest} = await unpackBundle(contextIn('/nowhere'), file, into)
    expect(manifest.run.command).toBe('patchbench compare shown --cases .../cases --output .../x --source https://example.org/linux.git')
    expect(manifest.results[0]).toMatchObject({reasons: ['the log is in <home>/logs/1 and <patchbench>/dist'], evidence: 'evidence/shown/debian-6.12.90'})
    const words = [home, folder, context.cache, projectRoot, 'ann:secret', ...names()]
    const found = await execa('grep', ['-rFo', ...words.flatMap((word) => ['-e', word]), into], {reject: false})
    expect(found.stdout).toBe('')
    expect(found.exitCode).toBe(1)
    const there = ['cases/shown/case.yaml', 'cases/shown/reproducer/reproduce', 'evidence/shown/debian-6.12.90/base-1/base/ktap', 'vm/agent.py', 'reproduce.sh', 'patchbench/bin/patchbench', 'patchbench/dist/cli.js', 'patchbench/node_modules/zod/package.json']
    expect(Object.keys(manifest.files)).toEqual(expect.arrayContaining(there))
    // Its program is whole: it says its name without our node_modules.
    const {stdout} = await execa('node', [join(into, 'patchbench/bin/patchbench'), 'reproduce', '--help'])
    expect(stdout).toContain('--quick')
  })

  it('is not made of a run whose copies were changed, or that has none', async () => {
    const {folder, context} = await storedRun()
    await writeFile(join(folder, 'inputs/vm/init'), '#!/bin/sh\n')
    expect(await complaint(makeBundle(context, folder, () => '/nowhere/x'))).toMatch(/inputs\/vm\/init is not what the run used/)
    expect(await complaint(makeBundle(context, await scratch(), () => '/nowhere/x'))).toMatch(/has no inputs\/run\.json/)
  })

  it('is not made of a case that names a path of this machine, and says where', async () => {
    const {folder, context} = await storedRun()
    const run = join(await scratch(), 'run')
    await cp(folder, run, {recursive: true})
    const record = JSON.parse(await readFile(join(run, 'inputs/run.json'), 'utf8')) as {files: Record<string, string>}
    await writeFile(join(run, 'inputs/cases/shown/README.md'), `# A bug\n\nlook in ${projectRoot}/notes\n`)
    record.files['cases/shown/README.md'] = await sha256File(join(run, 'inputs/cases/shown/README.md'))
    await writeFile(join(run, 'inputs/run.json'), JSON.stringify(record))
    expect(await complaint(makeBundle(context, run, () => '/nowhere/x'))).toBe(
      `inputs/cases/shown/README.md:3 names ${projectRoot}, a path of this machine: take it out, run compare again and bundle that run`,
    )
  })
})

/** What this machine and user are called, where that is no word of everybody's. */
function names(): string[] {
  return [hostname(), userInfo().username].filter((name) => name.length > 4 && !['debian', 'localhost'].includes(name))
}

describe('what is private', () => {
  it.each([
    ['/home/ann/x and /home/ann', '<home>/x and <home>'],
    ['in /home/ann/.cache/patchbench/built', 'in <cache>/built'],
    ['/home/anna/x, sub/home/annette', '/home/anna/x, sub/home/annette'],
    ['ann@annsbox: planned by ann', '<user>@<host>: planned by <user>'],
  ])('is taken out of %s', (text, expected) => {
    expect(sanitise(text, OWN)).toBe(expected)
  })

  it.each([
    ['patchbench compare one --cases /srv/cases', 'patchbench compare one --cases .../cases'],
    ["patchbench compare one --cases '/srv/my cases'", "patchbench compare one --cases .../my cases'"],
    ['patchbench compare one --source ../linux --base v6.12', 'patchbench compare one --source .../linux --base v6.12'],
    ['patchbench compare one --source ~/linux', 'patchbench compare one --source .../linux'],
    ['patchbench compare one --set queries=4 --kernel 6.12', 'patchbench compare one --set queries=4 --kernel 6.12'],
  ])('is taken out of the command %s', (command, expected) => {
    expect(sanitiseCommand(command, OWN)).toBe(expected)
  })

  it('is refused in what the author wrote', () => {
    expect(() => checkPublic('a\nsee /home/ann/notes\n', 'README.md', OWN)).toThrow(/README\.md:2 names \/home\/ann, a path of this machine/)
    expect(() => checkPublic('by ann, in /home/anna and vm/root/x', 'README.md', OWN)).not.toThrow()
    expect(() => checkPublic('the guest has /root/x', 'README.md', {paths: [['/root', '<home>']], names: []})).not.toThrow()
  })
})

describe('evidence that is too large', () => {
  it('is cut at lines in its middle', () => {
    const text = Array.from({length: 20_000}, (_, index) => `line ${index}\n`).join('')
    const cut = cutText(text)
    expect(cut.length).toBeLessThan(66_000)
    expect(cut).toMatch(/^line 0\nline 1\n[^]*\n\.\.\. patchbench bundle left out \d+ bytes here \.\.\.\n(?:line \d+\n)*line 19999\n$/)
    expect(cutText('short\n')).toBe('short\n')
  })

  it('is cut between packets in a capture', () => {
    const header = Buffer.alloc(24)
    header.writeUInt32LE(0xa1b2c3d4)
    const packet = Buffer.alloc(16 + 1000)
    packet.writeUInt32LE(1000, 8)
    const cut = cutCapture(Buffer.concat([header, ...Array<Buffer>(100).fill(packet)]))
    expect((cut.length - 24) % packet.length).toBe(0)
    expect(cut.length).toBeGreaterThan(60_000)
    expect(cut.length).toBeLessThan(66_000)
    const small = Buffer.concat([header, packet])
    expect(cutCapture(small)).toEqual(small)
  })
})
