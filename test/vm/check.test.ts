import {execa} from 'execa'
import {expect, test} from 'vitest'
import {BIN, scratch} from '../support/patchbench.js'
import {withPatches} from '../support/series.js'

const MINUTES = 60_000

/** The rows of `patchbench check` on the distribution's source of 6.12, the kernel's own scripts among them. */
async function rowsOf(cases: string, args: readonly string[]) {
  const words = ['check', 'ipmr-loopback', '--cases', cases, '--candidate', 'local-input', '--kernel', '6.12', '--json', ...args]
  const {stdout, stderr} = await execa('node', [BIN, ...words], {reject: false, stdin: 'ignore', env: {XDG_STATE_HOME: await scratch()}})
  if (stdout === '') throw new Error(stderr)
  return (JSON.parse(stdout) as {rows: {check: string; state: string; place: string; reason: string}[]}).rows
}

test("the kernel's own checkpatch.pl and get_maintainer.pl are asked", {timeout: 10 * MINUTES}, async () => {
  const bad = await withPatches('ipmr-loopback', 'local-input', '6.12', (patch) =>
    patch.replace('+\tbool forwarded;', '+\tbool  forwarded ;').replace(/^Subject:/m, 'To: dsahern@kernel.org\nSubject:'),
  )
  const rows = await rowsOf(bad, ['--no-build', '--no-coccinelle'])
  const of = (check: string) => rows.filter((row) => row.check === check)
  expect(of('applies')).toMatchObject([{state: 'passed'}])
  expect(of('checkpatch').map(({place, reason}) => `${place} ${reason}`).join('\n')).toMatch(/^net\/ipv4\/ip_output\.c:\d+ SPACING: space prohibited before semicolon/m)
  expect(of('maintainers').map(({state, reason}) => `${state} ${reason}`)).toContainEqual(expect.stringMatching(/^failed netdev@\S+ \(open list:NETWORKING \[IPv4\/IPv6\]\) is in neither To nor Cc/))
})
