import {beforeAll, describe, expect, it} from 'vitest'
import {runCopied} from '../../src/host/copy.js'
import {cut, sandboxHost, sandboxRoot} from '../support/sandboxhost.js'
import {contextIn, until} from '../support/scratch.js'

const context = contextIn('/nowhere')

/** A script that does what ours do: its work, and removing its folder. */
const SCRIPT = Buffer.from('touch ~/begun; sleep 1; head -c 4 "$2/file"; echo "-$1-$3"; touch ~/ran; rm -rf "$2"; exit 7\n')

/** More than a connection holds that nobody reads from. */
const LARGE = Buffer.alloc(32 << 20, 'file')

beforeAll(async () => void (await sandboxRoot()))

describe('a script that comes with its files', {timeout: 60_000}, () => {
  it('runs when they are there, and takes its folder with it', async () => {
    const host = await sandboxHost()
    const {stdout, exitCode} = await host.connected(async (connected) => await runCopied(context, connected, {file: LARGE, script: SCRIPT}, ['script', 'verb', "a 'b'"], {deadline: 20_000, allowedExits: [7]}))
    expect([stdout.toString(), exitCode]).toEqual(["file-verb-a 'b'\n", 7])
    expect(await host.left()).toEqual([])
  })

  it('does not run when they are not as they were sent, and nothing is left', async () => {
    const host = await sandboxHost({programs: {tar: '/usr/bin/tar "$@" && echo more >>file'}})
    const work = host.connected(async (connected) => await runCopied(context, connected, {file: LARGE, script: SCRIPT}, ['script', 'verb'], {deadline: 20_000}))
    await expect(work).rejects.toMatchObject({message: 'lab did not take the files: nothing was done there', detail: expect.stringContaining('file: FAILED') as string})
    expect([await host.left(), host.hasHomeFile('ran')]).toEqual([[], false])
  })

  it.each<[string, string, Record<string, string>, boolean]>([
    ['while they are copied leaves nothing', 'now', {tar: 'touch ~/now; sleep 1; exec /usr/bin/tar "$@"'}, false],
    ['while they are checked leaves nothing', 'now', {sha256sum: 'touch ~/now; sleep 1; exec /usr/bin/sha256sum "$@"'}, false],
    ['when it has begun is nothing to it', 'begun', {}, true],
  ])('a connection that is cut %s', async (_, moment, programs, runs) => {
    const host = await sandboxHost({programs})
    const work = host.connected(async (connected) => {
      const running = runCopied(context, connected, {file: LARGE, script: SCRIPT}, ['script', 'verb'], {deadline: 20_000})
      running.catch(() => {})
      await host.homeFile(moment)
      await cut(connected)
      return await running
    })
    await expect(work).rejects.toThrow('the connection to lab was lost')
    expect(await until(async () => (await host.left()).length === 0, 20_000)).toBe(true)
    expect([host.hasHomeFile('begun'), host.hasHomeFile('ran')]).toEqual([runs, runs])
  })
})
