import {execa} from 'execa'
import {readdir, writeFile} from 'node:fs/promises'
import {createServer, type Server} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {shellWords} from '../../src/lib/quote.js'
import {checkName, withHost} from '../../src/host/ssh.js'
import {contextIn, scratch} from '../support/scratch.js'

const leftOver = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('patchbench-ssh-'))

describe('words for the shell of a host', () => {
  it.each([
    [['a b', '$(reboot)', '`reboot`', '', "it's", '*', '~', 'a\nb', '\\', '!!', '-n']],
    [["'; reboot; '", '"', '&&', 'x=1', 'plain/path-1.0']],
  ])('arrive as they are: %j', async (words) => {
    const {stdout} = await execa('sh', ['-c', shellWords(['printf', '%s\\0', ...words])])
    expect(stdout.split('\0').slice(0, -1)).toEqual(words)
  })
})

describe('a name of a host', () => {
  it.each(['root@lab1', 'lab1', 'ssh://root@lab1:2222', 'root@192.0.2.1', 'root@[2001:db8::1]', 'user%x@lab-1.example'])('%s is one', (name) => {
    expect(() => checkName(name)).not.toThrow()
  })

  it.each(['', '-oProxyCommand=reboot', 'a b', 'a;reboot', '$(reboot)', 'a/b', 'a\nb', 'x@`y`', '\u001b[31mred'])('%j is none', (name) => {
    expect(() => checkName(name)).toThrow(/is no host: write it as for ssh/)
  })
})

describe('no connection', () => {
  async function configFor(server: Server): Promise<string> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const {port} = server.address() as {port: number}
    const config = join(await scratch(), 'config')
    await writeFile(config, `Host lab\n  HostName 127.0.0.1\n  Port ${port}\n  UserKnownHostsFile /dev/null\n`)
    return config
  }

  it('is told in the words of ssh, and leaves nothing', async () => {
    const before = await leftOver()
    const server = createServer((socket) => socket.end('this is no ssh\r\n'))
    const config = await configFor(server)
    const attempt = withHost(contextIn(await scratch()), 'lab', {config}, async () => await Promise.resolve('reached'))
    await expect(attempt).rejects.toMatchObject({name: 'CouldNotRun', message: 'there is no connection to lab', detail: expect.stringMatching(/./) as string})
    server.close()
    expect(await leftOver()).toEqual(before)
  })

  it('is given up when the user interrupts', async () => {
    const before = await leftOver()
    const interruption = new AbortController()
    const server = createServer(() => setTimeout(() => interruption.abort(), 100))
    const config = await configFor(server)
    const attempt = withHost(contextIn(await scratch(), interruption.signal), 'lab', {config}, async () => await Promise.resolve('reached'))
    await expect(attempt).rejects.toMatchObject({name: 'Interrupted'})
    server.close()
    expect(await leftOver()).toEqual(before)
  })
})
