import {readdir, readFile, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from 'vitest'
import {copyToHost, readFromHost, removeFolder} from '../../src/host/copy.js'
import {attempt, type Host, onHost, scriptOnHost, withHost} from '../../src/host/ssh.js'
import {sha256} from '../../src/lib/hash.js'
import {type TestHost} from '../../src/machine/testhost.js'
import {context} from '../support/machine.js'
import {scratch} from '../support/scratch.js'
import {bootTestHost} from '../support/testhost.js'

let machine: TestHost

beforeAll(async () => void (machine = await bootTestHost()))
afterAll(async () => await machine.stop())

const connected = async <T>(work: (host: Host) => Promise<T>, own = context): Promise<T> =>
  await withHost(own, machine.name, {config: machine.config}, work)

describe('a command on a host', {timeout: 60_000}, () => {
  it('gets its arguments and its input as they are, and brings back output, complaints and exit code', async () => {
    const bytes = Buffer.from(Array.from({length: 70_000}, (_, index) => index % 256))
    await connected(async (host) => {
      const words = ['a b', '$(reboot)', "it's", '*', 'a\nb']
      const echoed = await onHost(context, host, ['printf', '%s|', ...words])
      expect(echoed.stdout.toString()).toBe(words.map((word) => `${word}|`).join(''))
      const copied = await onHost(context, host, ['cat'], {input: bytes})
      expect(copied.stdout.equals(bytes)).toBe(true)
      const failed = await onHost(context, host, ['sh', '-c', 'echo no >&2; exit 7'], {allowedExits: [7]})
      expect(failed).toMatchObject({exitCode: 7, stderr: 'no\n'})
      await expect(onHost(context, host, ['sh', '-c', 'echo no >&2; exit 7'])).rejects.toMatchObject({
        message: "'sh -c' on testhost failed with exit code 7",
        detail: 'no',
      })
      expect(await onHost(context, host, ['sh', '-c', 'exit 255'], {allowedExits: 'any'})).toMatchObject({exitCode: 255})
    })
  })

  it('ends at the limits of time and size', async () => {
    await connected(async (host) => {
      await expect(onHost(context, host, ['sleep', '60'], {deadline: 500})).rejects.toThrow("'sleep 60' on testhost was not done after 0.5 s")
      await expect(onHost(context, host, ['yes'], {limit: 10_000})).rejects.toThrow("'yes' on testhost printed more than 10000 bytes")
      const cut = await attempt(context, host, ['yes'], {limit: 10_000})
      expect(cut).toMatchObject({ended: 'too long'})
      expect(cut.stdout).toHaveLength(10_000)
    })
  })

  it('may be a script of any length, which runs whole or not at all', async () => {
    const long = `# ${'x'.repeat(20_000)}\necho "$1-$2"; cat; exit 3`
    await connected(async (host) => {
      const {stdout, exitCode} = await scriptOnHost(context, host, long, ['one', "t'wo"], {allowedExits: [3]})
      expect({text: stdout.toString(), exitCode}).toEqual({text: "one-t'wo\n", exitCode: 3})
      // What a cut connection leaves of it: the beginning.
      const cut = await onHost(context, host, ['sh', '-s'], {input: '{\ntouch /tmp/half\n', allowedExits: 'any'})
      expect(cut.exitCode).not.toBe(0)
      expect((await onHost(context, host, ['test', '-e', '/tmp/half'], {allowedExits: 'any'})).exitCode).toBe(1)
    })
  })

  it('is interrupted with us, and leaves nothing here', async () => {
    const interruption = new AbortController()
    const own = {...context, signal: interruption.signal}
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('patchbench-ssh-'))
    const work = connected(async (host) => {
      setTimeout(() => interruption.abort(), 300)
      return await onHost(own, host, ['sleep', '60'])
    }, own)
    await expect(work).rejects.toMatchObject({name: 'Interrupted'})
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('patchbench-ssh-'))).toEqual(before)
  })

  it('says that the connection was lost when it was', async () => {
    await connected(async (host) => {
      const work = onHost(context, host, ['sh', '-c', 'kill -9 $PPID'])
      await expect(work).rejects.toThrow('the connection to testhost was lost')
      await expect(onHost(context, host, ['true'])).rejects.toThrow('the connection to testhost was lost')
    })
  })
})

it('a host whose key has changed is refused', {timeout: 60_000}, async () => {
  const folder = await scratch()
  const config = join(folder, 'ssh_config')
  const known = await readFile(join(machine.config, '../known_hosts'), 'utf8')
  const other = known.replace(/AAAAC3NzaC1lZDI1NTE5AAAAI.{4}/, 'AAAAC3NzaC1lZDI1NTE5AAAAIAAAA')
  expect(other).not.toBe(known)
  await writeFile(join(folder, 'known_hosts'), other)
  await writeFile(config, (await readFile(machine.config, 'utf8')).replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${folder}/known_hosts`))
  const work = withHost(context, machine.name, {config}, async () => await Promise.resolve())
  await expect(work).rejects.toMatchObject({message: 'there is no connection to testhost', detail: expect.stringContaining('Host key verification failed') as string})
})

it('files arrive in a private folder, checked', {timeout: 60_000}, async () => {
  const bytes = Buffer.alloc(300_000, 'patch')
  const file = join(await scratch(), 'local')
  await writeFile(file, bytes)
  await connected(async (host) => {
    const folder = await copyToHost(context, host, {'a.bin': file, 'sub/b': Buffer.from('b')})
    const {stdout} = await onHost(context, host, ['sh', '-c', `ls -ld ${folder}; sha256sum ${folder}/a.bin`])
    expect(stdout.toString()).toMatch(/^drwx------ .* root /)
    expect(stdout.toString()).toContain(sha256(bytes))
    expect((await readFromHost(context, host, `${folder}/sub/b`)).toString()).toBe('b')
    await removeFolder(context, host, folder)
    expect((await onHost(context, host, ['ls', '/tmp'])).stdout.toString()).not.toContain('patchbench.')

    await onHost(context, host, ['sh', '-c', 'rm /usr/bin/sha256sum; echo "#!/bin/sh\nexit 1" >/usr/bin/sha256sum; chmod 755 /usr/bin/sha256sum'])
    await expect(copyToHost(context, host, {'a.bin': file})).rejects.toThrow(/ on testhost failed with exit code 1$/)
    await onHost(context, host, ['ln', '-sf', '/usr/bin/busybox', '/usr/bin/sha256sum'])
    expect((await onHost(context, host, ['ls', '/tmp'])).stdout.toString()).not.toContain('patchbench.')
  })
})
