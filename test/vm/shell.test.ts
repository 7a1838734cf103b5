import {execa} from 'execa'
import {expect, test} from 'vitest'
import {BIN} from '../support/patchbench.js'

test('shell gives a machine in the state of the variant', {timeout: 300_000}, async () => {
  // script(1) brings the terminal that a shell needs.
  const child = execa('script', ['--quiet', '--return', '--flush', '--command', `node '${BIN}' shell ipmr-loopback --variant livepatched`, '/dev/null'], {
    reject: false,
  })
  let screen = ''
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString('utf8')
    if (/exit ends the machine\./.test(screen) && !screen.includes('state=')) {
      child.stdin.write('echo state=$(cat /sys/kernel/livepatch/livepatch_ipmr_loopback/enabled)\necho passed=$(reproduce 2>/dev/null | grep -c ^ok)\nexit\n')
    }
  })
  const {exitCode} = await child
  expect(screen).toContain('This is ipmr-loopback, livepatched, on 6.12.')
  expect(screen).toMatch(/^state=1\r?$/m)
  expect(screen).toMatch(/^passed=[1-9]\d*\r?$/m)
  expect(exitCode).toBe(0)
})
