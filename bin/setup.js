// SPDX-License-Identifier: GPL-2.0-only
// Installs what is missing before `npm start` and `npm test`: node modules, the
// compiled program and, with --host, packages of the host; with --browser, the
// browser that reports are tried in. Plain JavaScript
// without dependencies, because it runs before there are any.
import {spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {accessSync, constants, existsSync, readdirSync, readFileSync, statSync, writeFileSync} from 'node:fs'
import {delimiter, join} from 'node:path'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const NODE_FLOOR = [20, 19]

checkNode()
installNodeModules()
compile()
if (process.argv.includes('--host')) installHostPackages(JSON.parse(readFileSync(join(root, 'bin/host-packages.json'), 'utf8')))
if (process.argv.includes('--browser')) installHostPackages([{package: 'chromium', program: 'chromium'}])

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])) return
  fail(`patchbench needs Node ${NODE_FLOOR.join('.')} or newer, this is ${process.versions.node}: see nodejs.org or your distribution`)
}

function installNodeModules() {
  const stamp = join(root, 'node_modules/.patchbench')
  const wanted = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  say('installing node modules: npm ci')
  run('npm', ['ci', '--no-audit', '--no-fund'])
  writeFileSync(stamp, wanted)
}

function compile() {
  const built = join(root, 'dist/cli.js')
  const info = join(root, 'dist/.tsbuildinfo')
  const newest = Math.max(...sources(join(root, 'src')).map((path) => statSync(path).mtimeMs))
  if (existsSync(built) && existsSync(info) && statSync(info).mtimeMs >= newest) return
  say('compiling')
  run('npm', ['run', '--silent', 'prepare'])
}

function sources(folder) {
  const entries = readdirSync(folder, {recursive: true, withFileTypes: true})
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

function installHostPackages(packages) {
  const missing = packages.filter((one) => !isThere(one)).map((one) => one.package)
  if (missing.length === 0) return
  const line = `apt-get install --yes --no-install-recommends ${missing.join(' ')}`
  if (process.getuid() === 0) return aptInstall([], line)
  // Without a terminal sudo cannot ask for a password, and must not hang on it.
  const sudo = process.stdin.isTTY ? ['sudo'] : ['sudo', '-n']
  if (onPath('sudo') && (process.stdin.isTTY || spawnSync('sudo', ['-n', 'true']).status === 0)) return aptInstall(sudo, line)
  fail(`these packages are missing on this machine; install them and try again:\n  sudo ${line}`)
}

function aptInstall(prefix, line) {
  const words = [...prefix, ...line.split(' ')]
  say(words.join(' '))
  const env = {...process.env, DEBIAN_FRONTEND: 'noninteractive'}
  if (attempt(words, env)) return
  // On a machine that has never fetched its package lists, or whose lists are old.
  if (!attempt([...prefix, 'apt-get', 'update'], env) || !attempt(words, env)) {
    fail(`that did not work; install the packages by hand and try again:\n  ${line}`)
  }
}

function attempt([program, ...args], env) {
  return spawnSync(program, args, {stdio: ['inherit', 2, 2], env}).status === 0
}

function isThere({program, file}) {
  return file ? existsSync(file) : onPath(program)
}

function onPath(program) {
  // depmod and others are in sbin, which an ordinary user's PATH may lack.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function run(program, args) {
  const {status} = spawnSync(program, args, {cwd: root, stdio: ['ignore', 2, 2]})
  if (status !== 0) fail(`${program} ${args.join(' ')} failed; its words are above`, 69)
}

function say(text) {
  process.stderr.write(`patchbench: ${text}\n`)
}

function fail(text, code = 2) {
  say(text)
  process.exit(code)
}
