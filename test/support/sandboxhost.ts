import {execa} from 'execa'
import {spawn} from 'node:child_process'
import {existsSync} from 'node:fs'
import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {createServer} from 'node:net'
import {release} from 'node:os'
import {join} from 'node:path'
import {onTestFinished} from 'vitest'
import {type Host, withHost} from '../../src/host/ssh.js'
import {type Context} from '../../src/lib/context.js'
import {readListFile} from '../../src/lib/listfile.js'
import {projectPath} from '../../src/lib/project.js'
import {type GuestRoot, rootOf} from '../../src/machine/root.js'
import {context} from './machine.js'
import {scratch, until} from './scratch.js'

/** A host in a sandbox of this machine: its programs and kernel, and folders of its own. */
export type SandboxHost = {
  /** An ssh_config(5) file that knows it as `lab`. */
  config: string
  connected: <T>(work: (host: Host) => Promise<T>, own?: Context) => Promise<T>
  /** Waits for a file in its /home, and says what is in it. */
  homeFile: (name: string) => Promise<string>
  hasHomeFile: (name: string) => boolean
  /** What lies in its /tmp. */
  left: () => Promise<string[]>
}

export type SandboxOptions = {
  /** What make finds in /lib/modules/RELEASE/build; no folder where it is left out. */
  makefile?: string
  /** Scripts that come before the system's programs, by name. */
  programs?: Readonly<Record<string, string>>
  /** Programs of the system that it lacks. */
  without?: readonly string[]
}

/**
 * A host for the running test, with the sshd of test hosts (vm/host) on a port
 * of the loopback device: real connections, and a second for what takes a
 * machine a minute to boot.
 */
export async function sandboxHost({makefile, programs = {}, without = []}: SandboxOptions = {}): Promise<SandboxHost> {
  const folder = await scratch()
  const at = (...parts: string[]) => join(folder, ...parts)
  for (const part of ['tmp', 'build', 'bin', 'etc', 'home/.ssh']) await mkdir(at(part), {recursive: true, mode: 0o700})
  const {cpio} = await sandboxRoot()
  const wanted = ['sbin/dropbear', 'bin/dropbearconvert', 'lib/x86_64-linux-gnu/libtom*', 'lib/x86_64-linux-gnu/libgmp*']
  await execa('bsdtar', ['-xf', cpio, '-C', folder, ...wanted.map((path) => `./usr/${path}`)])
  for (const key of ['host_key', 'user_key']) await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)])
  await execa(at('usr/bin/dropbearconvert'), ['openssh', 'dropbear', at('host_key'), at('key')], {env: {LD_LIBRARY_PATH: at('usr/lib/x86_64-linux-gnu')}})
  const files = {'home/.ssh/authorized_keys': await readFile(at('user_key.pub'), 'utf8'), 'etc/passwd': 'lab:x:1000:1000:lab:/home:/bin/sh\n', 'etc/group': 'lab:x:1000:\n', 'etc/shells': '/bin/sh\n'}
  for (const [name, text] of Object.entries(files)) await writeFile(at(name), text, {mode: 0o600})
  if (makefile !== undefined) await writeFile(at('build/Makefile'), makefile)
  for (const [name, script] of Object.entries(programs)) await writeFile(at('bin', name), `#!/bin/sh\n${script}\n`, {mode: 0o755})
  const config = await writeConfig(at, await serve(sandbox(folder, makefile !== undefined, without)))
  return {
    config,
    connected: async (work, own = context) => await withHost(own, 'lab', {config}, work),
    homeFile: async (name) => {
      if (!(await until(() => existsSync(at('home', name)), 20_000))) throw new Error(`there is no ~/${name}`)
      return await readFile(at('home', name), 'utf8')
    },
    hasHomeFile: (name) => existsSync(at('home', name)),
    left: async () => await readdir(at('tmp')),
  }
}

/** The root of test hosts, which has the sshd; making it takes longer than a test may. For beforeAll. */
export async function sandboxRoot(): Promise<GuestRoot> {
  return await rootOf(context, await readListFile(projectPath('vm/host/packages')))
}

/** Ends the connection to a host as a network does that is gone. */
export async function cut({name, socket}: Host): Promise<void> {
  await execa('ssh', ['-F', 'none', '-S', socket, '-O', 'exit', name])
}

/** What serves one connection on its standard input. */
function sandbox(folder: string, hasHeaders: boolean, without: readonly string[]): string[] {
  const system = ['--ro-bind', '/usr', '/usr', '--symlink', 'usr/bin', '/bin', '--symlink', 'usr/lib64', '/lib64', '--proc', '/proc', '--dev', '/dev']
  // /lib is a folder of its own, because the kernel's is in it.
  const library = ['--symlink', '/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu']
  const own = {etc: '/etc', home: '/home', tmp: '/tmp', bin: '/usr/local/bin', ...(hasHeaders ? {build: `/lib/modules/${release()}/build`} : {})}
  const lacking = without.flatMap((program) => ['--ro-bind', '/dev/null', `/usr/bin/${program}`])
  const daemon = ['--ro-bind', folder, '/sshd', '--setenv', 'LD_LIBRARY_PATH', '/sshd/usr/lib/x86_64-linux-gnu', '/sshd/usr/sbin/dropbear', '-i', '-s', '-r', '/sshd/key']
  return ['--unshare-user', '--uid', '1000', '--gid', '1000', ...system, ...library, ...Object.entries(own).flatMap(([from, to]) => ['--bind', join(folder, from), to]), ...lacking, ...daemon]
}

async function serve(words: readonly string[]): Promise<number> {
  const server = createServer({pauseOnConnect: true}, (socket) => {
    spawn('bwrap', words, {stdio: [socket, 'ignore', 'inherit']})
    // It has the connection now; ours would keep it open.
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as {port: number}).port
}

async function writeConfig(at: (...parts: string[]) => string, port: number): Promise<string> {
  const hostKey = (await readFile(at('host_key.pub'), 'utf8')).split(' ').slice(0, 2).join(' ')
  await writeFile(at('known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`)
  const lines = ['Host lab', 'HostName 127.0.0.1', `Port ${port}`, 'User lab', 'IdentitiesOnly yes', `IdentityFile ${at('user_key')}`, `UserKnownHostsFile ${at('known_hosts')}`, 'GlobalKnownHostsFile none']
  await writeFile(at('ssh_config'), `${lines.join('\n')}\n`)
  return at('ssh_config')
}
