import {execa} from 'execa'
import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {SMTPServer} from 'smtp-server'
import {afterEach, beforeAll, describe, expect, it, vi} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {codeOf, textOf} from '../../src/series/identity.js'
import {readSeries} from '../../src/series/series.js'
import {type Journal} from '../../src/submit/journal.js'
import {build} from '../support/build.js'
import {mail, numbered, type Repository, repository} from '../support/repository.js'
import {scratch} from '../support/scratch.js'
import {diffOf, letter, SIGNED, tree} from '../support/submit.js'

const signal = new AbortController().signal

// Each runs patchbench, git and perl several times.
vi.setConfig({testTimeout: 300_000})

beforeAll(build)

type Received = {from: string; to: string[]; text: string}

/** What a server does with the mail of this number, from 0. */
type Behaviour = (number: number) => 'accept' | 'die' | 'die-unanswered'

const servers: SMTPServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise<void>((resolve) => server.close(() => resolve()))
})

/** A real SMTP server on loopback, which keeps what it took. */
async function smtp({behave = () => 'accept', refuse}: {behave?: Behaviour; refuse?: string} = {}, port = 0): Promise<{port: number; mails: Received[]; close: () => Promise<void>}> {
  const mails: Received[] = []
  const close = async () => await new Promise<void>((resolve) => server.close(() => resolve()))
  let number = 0
  const server = new SMTPServer({
    ...{authOptional: true, disabledCommands: ['STARTTLS'], disableReverseLookup: true, closeTimeout: 100},
    onConnect: (_, done) => (behave(number) === 'die' ? done(new Error('going down')) : done()),
    onRcptTo: ({address}, _, done) => (address === refuse ? done(Object.assign(new Error('no such user here'), {responseCode: 550})) : done()),
    onData: (stream, session, done) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const {mailFrom, rcptTo} = session.envelope
        mails.push({from: mailFrom ? mailFrom.address : '', to: rcptTo.map(({address}) => address), text: Buffer.concat(chunks).toString()})
        const how = behave(number)
        number += 1
        // Taken, and gone before it said so.
        if (how === 'die-unanswered') for (const connection of server.connections) (connection as unknown as {_socket: {destroy: () => void}})._socket.destroy()
        else done()
      })
    },
  })
  server.on('error', () => {})
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  servers.push(server)
  return {port: (server.server.address() as {port: number}).port, mails, close}
}

type Place = {repo: Repository; source: string; home: string; cases: string; folder: string; base: string}

const CASE = `schema: 1
title: packets are lost
tree: linux
kernels: ['6.12']
reproducer:
  program: reproduce
symptoms:
  - {name: lost, about: a packet is lost}
controls:
  - {name: kept, about: another is not}
candidates:
  - name: fix
    expect: {patched: fixed}
`

/** A case with a series, a tree that it is for, and a home without anybody's settings. */
async function place(mails: Record<string, string>, repo: Repository): Promise<Place> {
  const [home, cases] = [await scratch(), await scratch()]
  const folder = join(cases, 'lossy/linux/fix/6.12')
  await mkdir(folder, {recursive: true})
  await writeFile(join(cases, 'lossy/case.yaml'), CASE)
  await writeFile(join(cases, 'lossy/reproduce'), '#!/bin/sh\n', {mode: 0o755})
  for (const [name, text] of Object.entries(mails)) await writeFile(join(folder, name), text)
  return {repo, source: repo.folder, home, cases, folder, base: await repo.git('rev-parse', 'HEAD')}
}

/** Two patches of a fix with a cover letter. */
async function two(): Promise<Place> {
  const {repo, fixed} = await tree()
  const fixes = `Fixes: ${fixed.slice(0, 12)} ("net: add c")\n`
  const first = letter({subject: '[PATCH net 1/2] net: do not löse it', from: 'Jörg Äuthor <ann@example.org>', signed: 'Signed-off-by: Jörg Äuthor <ann@example.org>\n', fixes, diff: await diffOf(repo, {'net/a.c': numbered(40, {20: 'chängéd'})})})
  const second = letter({subject: '[PATCH net 2/2] selftests: net: lose nothing', diff: await diffOf(repo, {'tools/testing/selftests/net/a.sh': 'true\n'})})
  const cover = mail('', {subject: '[PATCH net 0/2] net: lose nothing', body: 'Packets were lost.\nNow they are not, says Jörg.\n'}).replace('---\n\n', '')
  return await place({'0000-cover-letter.patch': cover, '0001-a.patch': first, '0002-b.patch': second}, repo)
}

/** One patch with a note of its author's. */
async function single(): Promise<Place> {
  const {repo, fixed} = await tree()
  const diff = await diffOf(repo, {'net/a.c': numbered(40, {20: 'changed'}), 'tools/testing/selftests/net/a.sh': 'true\n'})
  return await place({'0001-a.patch': letter({fixes: `Fixes: ${fixed.slice(0, 12)} ("net: add c")\n`, notes: 'A note of mine.\n', diff})}, repo)
}

async function patchbench({home, cases, source}: Place, args: string[], port = 1) {
  const config = join(home, '.gitconfig')
  await writeFile(config, `[user]\n\tname = Ann Author\n\temail = ann@example.org\n[sendemail]\n\tsmtpserver = 127.0.0.1\n\tsmtpserverport = ${port}\n\tsuppresscc = all\n\tcc = wrong@example.org\n\ttocmd = false\n`)
  const env = {HOME: home, XDG_STATE_HOME: join(home, 'state'), PATCHBENCH_CACHE: join(home, 'cache'), GIT_CONFIG_GLOBAL: config, NO_COLOR: '1'}
  const [verb = '', ...rest] = args
  const result = await execa(process.execPath, [projectPath('bin/patchbench'), verb, 'lossy', '--cases', cases, '--source', source, ...rest], {reject: false, stdin: 'ignore', env, cwd: home})
  expect(result.stderr).not.toMatch(/a bug in|^\s+at /m)
  return result
}

/** What a comparison of the series leaves. */
async function compared({home, folder}: Place, verdict = 'fixed', expected = 'fixed'): Promise<void> {
  const code = codeOf(await readSeries(signal, [folder]))
  const run = join(home, 'state/patchbench/runs/20261120-120000-1')
  await mkdir(run, {recursive: true})
  const tests = (variant: string) => [
    {name: 'lost', role: 'symptom', claimed: true, base: 'failed', variant, observed: {base: '0 of 4 arrived\ndiff --git a/x b/x', variant: '4 of 4 arrived'}},
    {name: 'kept', role: 'control', claimed: true, base: 'passed', variant: 'passed', observed: {base: '', variant: ''}},
  ]
  const cell = {case: 'lossy', kernel: 'built 6.12.7', reasons: [], repeats: 1, evidence: '/nowhere'}
  const results = [
    {...cell, variant: 'base', candidate: null, verdict: 'shown', expected: 'shown', tests: tests('failed')},
    {...cell, variant: 'patched', candidate: 'fix', verdict, expected, tests: tests(verdict === 'fixed' ? 'passed' : 'failed')},
  ]
  const pairs = [{case: 'lossy', kernel: 'built 6.12.7', release: '6.12.7-patchbench', candidates: [{name: 'fix', patches: [], series: code, tree: ''}]}]
  await writeFile(join(run, 'results.json'), JSON.stringify({schema: 1, run: {folder: run, exit: 0, date: '2026-11-20T12:00:00Z', command: 'patchbench compare lossy', accelerator: 'tcg'}, results, pairs, leftOut: []}))
}

/** Checked and compared: nothing speaks against sending it. */
async function ready(one: Place): Promise<void> {
  const text = textOf(await readSeries(signal, [one.folder]))
  const rows = [{check: 'applies', patch: 1, state: 'passed', place: '', reason: ''}]
  const checks = join(one.home, 'state/patchbench/checks')
  await mkdir(checks, {recursive: true})
  await writeFile(join(checks, `${text}.json`), JSON.stringify({schema: 1, date: '2026-11-20T12:00:00Z', source: 'linux 6.12.7', rows}))
  await compared(one)
}

/** The same by `patchbench check`. */
async function reallyReady(one: Place): Promise<void> {
  const {exitCode, stdout} = await patchbench(one, ['check', '--no-build'])
  expect(exitCode, stdout).toBe(0)
  await compared(one)
}

type Said = {exit: number; version: number; against: string[]; tree: string; folder: string; mails: {file: string; subject: string; messageId: string; state: string}[]; tags: {tag: string; patch: number | null; reason: string}[]; recipients: {email: string; as: string; reason: string}[]; notes: string[]}

async function dryRun(one: Place, ...args: string[]): Promise<Said> {
  const {stdout, stderr} = await patchbench(one, ['send', '--json', ...args])
  expect(stdout, stderr).not.toBe('')
  return JSON.parse(stdout) as Said
}

async function textIn({folder}: Said, file: string): Promise<string> {
  return await readFile(join(folder, file), 'utf8')
}

/** The tree after `git am` of the mails on the base. */
async function amended({repo, base}: Place, {folder}: Said): Promise<string> {
  const clone = join(await scratch(), 'clone')
  await execa('git', ['clone', '-q', repo.folder, clone])
  const files = (await readdir(folder)).filter((name) => /^0.*\.eml$/.test(name)).sort().map((name) => join(folder, name))
  await execa('git', ['-C', clone, 'checkout', '-q', base])
  await execa('git', ['-C', clone, '-c', 'user.name=R', '-c', 'user.email=r@example.org', 'am', '-q', ...files])
  return (await execa('git', ['-C', clone, 'rev-parse', 'HEAD^{tree}'])).stdout
}

/** Fields of a mail's header by name; what is folded is one. */
function header(text: string): Record<string, string> {
  const lines = text.replaceAll('\r\n', '\n').split('\n\n')[0]!.split(/\n(?![ \t])/)
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]))
}

function ids(mails: readonly Received[]): string[] {
  return mails.map(({text}) => header(text)['message-id']!)
}

describe('a dry run', () => {
  it('writes mails that git am takes to the tree of the series', async () => {
    const one = await two()
    await ready(one)
    const said = await dryRun(one)
    expect(said).toMatchObject({exit: 0, version: 1, against: []})
    expect(said.mails.map(({file}) => file)).toEqual(['cover-letter.eml', '0001-net-do-not-l-se-it.eml', '0002-selftests-net-lose-nothing.eml'])
    expect(said.tree).not.toBe(await one.repo.git('rev-parse', 'HEAD^{tree}'))
    expect(await amended(one, said)).toBe(said.tree)
  })

  it('says in the cover letter what was tested, and keeps what its author wrote', async () => {
    const one = await two()
    await ready(one)
    const bundle = join(one.home, 'lossy.tar.zst')
    await writeFile(bundle, 'x')
    const said = await dryRun(one, '--bundle', bundle)
    const text = await textIn(said, 'cover-letter.eml')
    expect(text).toMatch(/^Subject: \[PATCH net 0\/2\] net: lose nothing$/m)
    expect(text).toContain('Packets were lost.\nNow they are not, says Jörg.\n\nTested with patchbench, case lossy:\n')
    expect(text).toMatch(/ {2}built 6\.12\.7 {2}base {5}shown {4}1\/1 +1\/1 pass\n +patched {2}fixed {4}0\/1 +1\/1 pass\n/)
    expect(text).toContain('  lost\n    before: 0 of 4 arrived\n    after:  4 of 4 arrived\n')
    expect(text).toContain('To see it again:\n\n  patchbench compare lossy\n')
    expect(text).toContain('SHA-256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881')
    expect(text).toMatch(/ 2 files changed, /)
    // A source with a history is one that others have.
    expect(text).toContain(`\nbase-commit: ${one.base}\n`)
    expect(header(text)['content-type']).toBe('text/plain; charset=UTF-8')
  })

  it('says it below the --- of a single patch, after its own note', async () => {
    const one = await single()
    await ready(one)
    const said = await dryRun(one)
    expect(said.mails.map(({file}) => file)).toEqual(['0001-net-do-it-well.eml'])
    const text = await textIn(said, '0001-net-do-it-well.eml')
    expect(text).toMatch(/\n---\nA note of mine\.\n\nTested with patchbench, case lossy:\n\n[\s\S]*\n\n net\/a\.c +\| 2 \+-\n/)
    expect(await amended(one, said)).toBe(said.tree)
    const message = join(one.home, 'message')
    await execa('git', ['mailinfo', message, '/dev/null'], {input: text})
    expect(await readFile(message, 'utf8')).toContain('It was not.')
    expect(await readFile(message, 'utf8')).not.toContain('Tested with')
  })

  it('makes the same mails again, threaded, each with its own id', async () => {
    const one = await two()
    await ready(one)
    const [first, second] = [await dryRun(one), await dryRun(one)]
    expect(second.mails).toEqual(first.mails)
    expect(new Set(first.mails.map(({messageId}) => messageId)).size).toBe(3)
    const [cover, patch] = [await textIn(first, 'cover-letter.eml'), await textIn(first, '0001-net-do-not-l-se-it.eml')]
    expect(header(cover)['in-reply-to']).toBeUndefined()
    expect(header(patch)['in-reply-to']).toBe(header(cover)['message-id'])
    const answer = await dryRun(one, '--in-reply-to', 'that@example.org')
    expect(header(await textIn(answer, 'cover-letter.eml'))['in-reply-to']).toBe('<that@example.org>')
    expect(header(await textIn(answer, '0002-selftests-net-lose-nothing.eml')).references).toBe(`<that@example.org>\n\t${answer.mails[0]!.messageId}`)
  })

  it('declares how each mail is encoded, and encodes the names of its header', async () => {
    const one = await two()
    await ready(one)
    const said = await dryRun(one, '--to', 'Zoë, "the" Editor <zoe@example.org>', '--cc', 'J. Doe <j@example.org>')
    for (const {file} of said.mails) {
      const text = await textIn(said, file)
      const [head = '', ...body] = text.split('\n\n')
      expect(head).toMatch(/^[\x00-\x7f]*$/)
      const encoded = header(text)['content-transfer-encoding']
      expect(encoded).toBe(/^[\x00-\x7f]*$/.test(body.join('\n\n')) ? undefined : '8bit')
    }
    const {to, cc, from} = header(await textIn(said, '0001-net-do-not-l-se-it.eml'))
    expect(to).toContain(`=?UTF-8?B?${Buffer.from('Zoë, "the" Editor').toString('base64')}?= <zoe@example.org>`)
    expect(to).toContain('"Mae N. Tainer" <mae@example.org>')
    expect(cc).toContain('"J. Doe" <j@example.org>')
    expect(from).toBe('Ann Author <ann@example.org>')
  })

  it('keeps the change-id of b4 and the base-commit that the series states, and names its mails by it', async () => {
    const one = await two()
    const cover = join(one.folder, '0000-cover-letter.patch')
    await writeFile(cover, `${await readFile(cover, 'utf8')}base-commit: ${one.base}\nchange-id: 20261120-lose-nothing-0123456789ab\n`)
    const said = await dryRun(one)
    const text = await textIn(said, 'cover-letter.eml')
    expect(text.match(/^base-commit: .*$/gm)).toEqual([`base-commit: ${one.base}`])
    expect(text.match(/^change-id: .*$/gm)).toEqual(['change-id: 20261120-lose-nothing-0123456789ab'])
    expect(said.mails[0]!.messageId).toMatch(/^<20261120-lose-nothing-0123456789ab-v1-0-/)
  })

  it('gives everybody a reason, and leaves out whom it is told to', async () => {
    const one = await two()
    const said = await dryRun(one, '--exclude', 'rev@example.org', '--cc', 'more@example.org')
    expect(said.recipients.map(({as, email, reason}) => `${as} ${email} ${reason}`)).toEqual([
      'To mae@example.org maintainer:NETWORKING [GENERAL]',
      'Cc more@example.org --cc',
      'Cc netdev@example.org open list:NETWORKING [GENERAL]',
    ])
  })

  it('puts no header into a mail that a subject or a text asks for', async () => {
    const {repo} = await tree()
    const diff = await diffOf(repo, {'net/a.c': numbered(40, {20: 'changed'})})
    const subject = '[PATCH net 1/2] =?utf-8?q?net:_x=0ABcc:_evil@example.org=0A=0Abody?='
    const from = '=?utf-8?q?Ann=0ABcc:_evil@example.org?= <ann@example.org>'
    const cover = mail('', {subject: '[PATCH net 0/2] =?utf-8?q?c=0D=0ABcc:_evil@example.org?=', header: 'Content-Transfer-Encoding: quoted-printable\n', body: 'Bcc: evil@example.org\n\n=46rom evil Mon Sep 17 00:00:00 2001\nBcc: evil@example.org\n'}).replace('---\n\n', '')
    const one = await place({'0000-c.patch': cover, '0001-a.patch': letter({subject, from, diff}), '0002-b.patch': letter({subject: '[PATCH net 2/2] net: y', diff: await diffOf(repo, {'net/b.c': 'x\n'})})}, repo)
    const said = await dryRun(one)
    for (const {file} of said.mails) {
      const fields = Object.keys(header(await textIn(said, file)))
      expect(fields).not.toContain('bcc')
      expect(fields.filter((name) => !['from', 'date', 'subject', 'to', 'cc', 'message-id', 'in-reply-to', 'references', 'mime-version', 'content-type', 'content-transfer-encoding'].includes(name))).toEqual([])
    }
    expect(await amended(one, said)).toBe(said.tree)
    for (const bad of ['x@example.org\nBcc: evil@example.org', 'nobody']) {
      const {exitCode, stderr} = await patchbench(one, ['send', '--to', bad])
      expect({exitCode, stderr}).toEqual({exitCode: 2, stderr: expect.stringContaining("write name@domain or 'Name <name@domain>'")})
    }
  })
})

describe('the gate', () => {
  it('holds what was not checked, not compared or has changed since, and a verdict that is not the expected one', async () => {
    const one = await single()
    const server = await smtp()
    const held = async (words: RegExp) => {
      const {stdout, exitCode} = await patchbench(one, ['send', '--send', '--json'], server.port)
      expect(exitCode).toBe(1)
      expect((JSON.parse(stdout) as Said).against.join('\n')).toMatch(words)
    }
    await held(/was not checked as it is now[\s\S]*was not compared as it is now/)
    await reallyReady(one)
    expect((await dryRun(one)).against).toEqual([])
    const file = join(one.folder, '0001-a.patch')
    const before = await readFile(file, 'utf8')
    // A word of the message: the check is of another text, the comparison of the same code.
    await writeFile(file, before.replace('It was not.', 'It was not so.'))
    await held(/^the series was not checked[^\n]*$/)
    await patchbench(one, ['check', '--no-build'])
    expect((await dryRun(one)).against).toEqual([])
    await writeFile(file, before.replace('+changed', '+altered'))
    await held(/was not checked[\s\S]*was not compared/)
    await writeFile(file, before)
    await compared(one, 'not-fixed')
    await held(/^patched on built 6\.12\.7: the verdict is not-fixed, expected fixed$/)
    await compared(one)
    await writeFile(file, before.replace('Fixes: ', 'Fixed: '))
    await patchbench(one, ['check', '--no-build'])
    await held(/^check fixes of patch 1 failed: no Fixes tag/)
    expect(server.mails).toEqual([])
  })

  it('lets through with --override, which the mail says', async () => {
    const one = await single()
    const server = await smtp()
    const {exitCode, stdout} = await patchbench(one, ['send', '--send', '--json', '--override', 'an RFC\nBcc: x'], server.port)
    expect(exitCode, stdout).toBe(0)
    expect(server.mails[0]!.text.replaceAll('\r\n', '\n')).toMatch(/\n---\nA note of mine\.\n\nSent in spite of this:\n {2}- the series was not checked[\s\S]*\nbecause: an RFC Bcc: x\n/)
    expect((await patchbench(one, ['send', '--override', ' '])).exitCode).toBe(2)
  })
})

describe('sending', () => {
  it('hands every mail to the server once, to exactly the recipients, as the dry run had it', async () => {
    const one = await two()
    await ready(one)
    const server = await smtp()
    const dry = await dryRun(one)
    const review = await patchbench(one, ['send', '--to-review'], server.port)
    expect(review.stdout).toContain('nothing was sent: git send-email would take the mails')
    expect(server.mails).toEqual([])
    const {exitCode, stdout} = await patchbench(one, ['send', '--send'], server.port)
    expect(exitCode, stdout).toBe(0)
    expect(stdout).toContain('all 3 mails were sent')
    expect(ids(server.mails)).toEqual(dry.mails.map(({messageId}) => messageId))
    for (const {from, to} of server.mails) {
      expect(from).toBe('ann@example.org')
      expect(to.sort()).toEqual(['mae@example.org', 'netdev@example.org', 'rev@example.org'])
    }
    const patch = server.mails[1]!.text.replaceAll('\r\n', '\n')
    expect(patch).toContain('+chängéd')
    expect(header(patch)['in-reply-to']).toBe(dry.mails[0]!.messageId)
    const again = await patchbench(one, ['send', '--send'], server.port)
    expect({exit: again.exitCode, stderr: again.stderr}).toEqual({exit: 2, stderr: expect.stringMatching(/exactly this series was sent as v1 on \d{4}-\d\d-\d\d: nothing is sent twice/)})
    expect((await patchbench(one, ['send', '--resume'], server.port)).stderr).toContain('there is nothing to resume')
    expect(server.mails).toHaveLength(3)
  })

  it('after a server that died in the middle, --resume sends the rest, each mail once', async () => {
    const one = await two()
    await ready(one)
    const dying = await smtp({behave: (number) => (number < 2 ? 'accept' : 'die')})
    const first = await patchbench(one, ['send', '--send'], dying.port)
    expect(first.exitCode).toBe(69)
    expect(first.stderr).toMatch(/'\[PATCH net 2\/2\] selftests: net: lose nothing' was not sent: [\s\S]*2 of 3 mails were sent; '--resume' sends the others/)
    await dying.close()
    const refused = await patchbench(one, ['send', '--send'], dying.port)
    expect({exit: refused.exitCode, stderr: refused.stderr}).toEqual({exit: 2, stderr: expect.stringContaining('v1 is half sent: send the rest of it with --resume')})
    expect((await patchbench(one, ['send', '--resume'], dying.port)).exitCode).toBe(69)
    const server = await smtp()
    const {exitCode, stdout, stderr} = await patchbench(one, ['send', '--resume', '--json'], server.port)
    expect(exitCode, stderr).toBe(0)
    expect([...ids(dying.mails), ...ids(server.mails)]).toEqual((JSON.parse(stdout) as Said).mails.map(({messageId}) => messageId))
    expect(server.mails).toHaveLength(1)
    expect((await patchbench(one, ['send', '--resume'], server.port)).exitCode).toBe(2)
  })

  it('never guesses whether a mail arrived that was taken without an answer', async () => {
    const one = await two()
    await ready(one)
    const dying = await smtp({behave: (number) => (number === 1 ? 'die-unanswered' : 'accept')})
    const first = await patchbench(one, ['send', '--send'], dying.port)
    expect({exit: first.exitCode, stderr: first.stderr}).toEqual({exit: 2, stderr: expect.stringMatching(/'\[PATCH net 1\/2\] net: do not löse it' may have arrived .*'--resume --arrived 1' or '--resume --lost 1'/)})
    expect(dying.mails).toHaveLength(2)
    await dying.close()
    const server = await smtp()
    expect((await patchbench(one, ['send', '--resume'], server.port)).exitCode).toBe(2)
    expect((await patchbench(one, ['send', '--resume', '--arrived', '2'], server.port)).stderr).toContain('it is known that it was not sent')
    expect((await patchbench(one, ['send', '--resume', '--arrived', '0'], server.port)).stderr).toContain('it is known that it was sent')
    expect(server.mails).toEqual([])
    const {exitCode} = await patchbench(one, ['send', '--resume', '--arrived', '1'], server.port)
    expect(exitCode).toBe(0)
    const all = [...ids(dying.mails), ...ids(server.mails)]
    expect(all).toHaveLength(3)
    expect(new Set(all).size).toBe(3)
  })

  it('sends nothing twice after a kill in the middle', async () => {
    const one = await two()
    await ready(one)
    const server = await smtp()
    await patchbench(one, ['send', '--send'], server.port)
    const file = join(one.home, 'state/patchbench/sent/lossy/fix-6.12/v1/journal.json')
    const journal = JSON.parse(await readFile(file, 'utf8')) as Journal
    // As it is on the disk while git send-email runs.
    journal.mails[2]!.state = 'sending'
    await writeFile(file, JSON.stringify(journal))
    const {exitCode, stderr} = await patchbench(one, ['send', '--resume'], server.port)
    expect({exitCode, stderr}).toEqual({exitCode: 2, stderr: expect.stringContaining('may have arrived (sending it was cut off)')})
    expect(server.mails).toHaveLength(3)
    expect((await patchbench(one, ['send', '--resume', '--lost', '2'], server.port)).exitCode).toBe(0)
    expect(server.mails).toHaveLength(4)
  })

  it("says which recipient a server refuses, and goes on without it", async () => {
    const one = await two()
    await ready(one)
    const server = await smtp({refuse: 'rev@example.org'})
    const first = await patchbench(one, ['send', '--send'], server.port)
    expect({exit: first.exitCode, stderr: first.stderr}).toEqual({exit: 69, stderr: expect.stringMatching(/was not sent: 550 no such user here[\s\S]*0 of 3 mails were sent/)})
    expect(server.mails).toEqual([])
    expect((await patchbench(one, ['send', '--resume', '--exclude', 'else@example.org'], server.port)).stderr).toContain('v1 does not go there')
    const {exitCode, stderr} = await patchbench(one, ['send', '--resume', '--exclude', 'rev@example.org'], server.port)
    expect(exitCode, stderr).toBe(0)
    expect(server.mails.map(({to}) => to.sort())).toEqual([1, 2, 3].map(() => ['mae@example.org', 'netdev@example.org']))
    expect(server.mails[0]!.text).not.toContain('rev@example.org')
  })
})

describe('the next version', () => {
  it('is v2, with a changelog to write and a range-diff against what was sent', async () => {
    const one = await two()
    await ready(one)
    const server = await smtp()
    await patchbench(one, ['send', '--send'], server.port)
    const file = join(one.folder, '0001-a.patch')
    await writeFile(file, (await readFile(file, 'utf8')).replace('+chängéd', '+altered'))
    const said = await dryRun(one)
    expect(said.version).toBe(2)
    expect(said.against.join('\n')).toContain("the changelog of v2 is not written: begin with 'Changes in v2:' in 0000-cover-letter.patch")
    const text = await textIn(said, 'cover-letter.eml')
    expect(text).toMatch(/^Subject: \[PATCH net v2 0\/2\] net: lose nothing$/m)
    expect(text).toMatch(/\nChanges in v2:\n- EDITME: what changed, and why\n- v1 was <lossy-fix-v1-0-[\da-f]{12}@example\.org>\n/)
    expect(text).toMatch(/\nRange-diff against v1:\n1: {2}[\da-f]+ ! 1: {2}[\da-f]+ net: do not löse it\n[\s\S]*-\+chängéd\n[\s\S]*\+\+altered\n/)
    expect(await amended(one, said)).toBe(said.tree)
    const cover = join(one.folder, '0000-cover-letter.patch')
    await writeFile(cover, (await readFile(cover, 'utf8')).replace('says Jörg.\n', 'says Jörg.\n\nChanges in v2:\n- altered, not changed\n'))
    await ready(one)
    const written = await dryRun(one)
    expect(written.against).toEqual([])
    expect(await textIn(written, 'cover-letter.eml')).not.toContain('EDITME')
    expect((await patchbench(one, ['send', '--send', '-v', '1'], server.port)).stderr).toContain('v1 was sent, and was another series: the next is v2')
    expect((await patchbench(one, ['send', '--send'], server.port)).exitCode).toBe(0)
    expect(server.mails).toHaveLength(6)
    expect(new Set(ids(server.mails)).size).toBe(6)
  })

  it('of a series that was sent elsewhere has its range-diff from --previous', async () => {
    const one = await single()
    const before = join(one.home, 'v1.mbox')
    const file = join(one.folder, '0001-a.patch')
    await writeFile(before, await readFile(file, 'utf8'))
    await writeFile(file, (await readFile(file, 'utf8')).replace('[PATCH net]', '[PATCH net v2]').replace('+changed', '+altered'))
    expect((await dryRun(one)).notes).toEqual(['no range-diff: the version before is not known here, name it with --previous'])
    const said = await dryRun(one, '--previous', before)
    const text = await textIn(said, '0001-net-do-it-well.eml')
    expect(text).toMatch(/\n---\nA note of mine\.\n\nChanges in v2:\n- EDITME[\s\S]*\nRange-diff against v1:\n/)
    expect(await amended(one, said)).toBe(said.tree)
  })
})

describe('tags of replies', () => {
  /** A reply as a mail program writes it. */
  function reply({from, to, subject = 'Re: something', text}: {from: string; to?: string; subject?: string; text: string}): string {
    const thread = to === undefined ? '' : `In-Reply-To: ${to}\nReferences: <other@example.org>\n ${to}\n`
    return `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: ${from}\nSubject: ${subject}\nMessage-ID: <r${Math.random()}@example.org>\n${thread}\n${text}\n\n`
  }

  it('are put on the right patches, before the last Signed-off-by; others are refused with a reason', async () => {
    const one = await two()
    await ready(one)
    const server = await smtp()
    await patchbench(one, ['send', '--send'], server.port)
    const [cover, first, second] = ids(server.mails)
    // The second patch changes; what was said of it no longer counts.
    const file = join(one.folder, '0002-b.patch')
    await writeFile(file, (await readFile(file, 'utf8')).replace('+true', '+false'))
    const mbox = join(one.home, 'replies.mbox')
    await writeFile(
      mbox,
      [
        reply({from: 'Rev Iewer <rev@example.org>', to: first!, text: '> Reviewed-by: Quoted <quoted@example.org>\n\nReviewed-by: Rev Iewer <rev@example.org>'}),
        reply({from: 'Rev Iewer <rev@example.org>', to: second!, text: 'Acked-by: Rev Iewer <rev@example.org>'}),
        reply({from: 'Tess Ter <tess@example.org>', to: cover!, text: 'Tested-by: Tess Ter <tess@example.org>'}),
        reply({from: 'Mallory <mallory@example.org>', to: first!, text: 'Reviewed-by: Mae N. Tainer <mae@example.org>'}),
        reply({from: 'Sub Ject <sub@example.org>', subject: 'Re: [PATCH net 2/2] selftests: net: lose nothing', text: 'Acked-by: Sub Ject <sub@example.org>'}),
        reply({from: 'Stray <stray@example.org>', to: '<nowhere@example.org>', text: 'Acked-by: Stray <stray@example.org>'}),
      ].join(''),
    )
    const said = await dryRun(one, '--tags', mbox)
    const put = said.tags.filter(({patch}) => patch !== null).map(({tag, patch}) => `${patch} ${tag}`)
    expect(put).toEqual(['1 Reviewed-by: Rev Iewer <rev@example.org>', '1 Tested-by: Tess Ter <tess@example.org>', '2 Tested-by: Tess Ter <tess@example.org>', '2 Acked-by: Sub Ject <sub@example.org>'])
    const refused = said.tags.filter(({patch}) => patch === null).map(({tag, reason}) => `${tag}: ${reason}`)
    expect(refused).toEqual([
      expect.stringMatching(/^Acked-by: Rev Iewer .*patch 2, which has changed since/),
      expect.stringMatching(/^Reviewed-by: Mae N\. Tainer .*it was sent by mallory@example\.org, not by mae@example\.org/),
      expect.stringMatching(/^Acked-by: Stray .*answers no mail of this series/),
    ])
    const text = await textIn(said, '0001-net-do-not-l-se-it.eml')
    expect(text).toMatch(/\nFixes: .*\nReviewed-by: Rev Iewer <rev@example\.org>\nTested-by: Tess Ter <tess@example\.org>\nSigned-off-by: Jörg/)
    expect(text).not.toContain('Quoted')
    expect(await amended(one, said)).toBe(said.tree)
    expect(said.notes.join()).not.toContain('was sent as v1')
    const sloppy = await dryRun(one, '--tags', mbox, '--sloppy-trailers')
    expect(sloppy.tags.filter(({patch}) => patch === null)).toHaveLength(1)
    expect(await textIn(sloppy, '0002-selftests-net-lose-nothing.eml')).toMatch(new RegExp(`Acked-by: Rev Iewer[\\s\\S]*${SIGNED}`))
  })
})

it('says of tags for what was sent already, and of a base that is not the one it was tried on, that it is so', async () => {
  const one = await single()
  await ready(one)
  const server = await smtp()
  await patchbench(one, ['send', '--send'], server.port)
  const mbox = join(one.home, 'replies.mbox')
  await writeFile(mbox, `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: Rev Iewer <rev@example.org>\nSubject: Re: it\nMessage-ID: <r1@example.org>\nIn-Reply-To: ${ids(server.mails)[0]!}\n\nAcked-by: Rev Iewer <rev@example.org>\n\n`)
  const said = await dryRun(one, '--tags', mbox)
  expect(said.tags).toMatchObject([{patch: 1}])
  expect(said.notes.join('\n')).toMatch(/exactly this series was sent as v1, and is not sent twice: its tags are in these files alone/)
  expect((await dryRun(one)).notes).toEqual([])
  const file = join(one.folder, '0001-a.patch')
  await writeFile(file, `${await readFile(file, 'utf8')}\nbase-commit: ${'d'.repeat(40)}\n`)
  expect((await dryRun(one)).notes.join('\n')).toMatch(/the series states base-commit dddddddddddd, and was tried on .* \(\w{12}\)/)
})

it("of firewall4 goes to OpenWrt's list, besides whom the user names", async () => {
  const repo = await repository({'root/usr/share/firewall4/main.uc': 'x\n', 'root/usr/share/ucode/fw4.uc': 'x\n'})
  const diff = await diffOf(repo, {'root/usr/share/ucode/fw4.uc': 'y\n', 'tests/01_a': 'y\n'})
  const [home, cases] = [await scratch(), await scratch()]
  const folder = join(cases, 'lossy/firewall4/fix/master')
  await mkdir(folder, {recursive: true})
  await mkdir(join(cases, 'lossy/router/uci'), {recursive: true})
  await writeFile(join(cases, 'lossy/router/uci/firewall.json'), '{}')
  await writeFile(join(cases, 'lossy/case.yaml'), CASE.replace('tree: linux', 'tree: firewall4\nfirewall4:\n  router: router').replace('{patched: fixed}', '{ruleset: fixed}'))
  await writeFile(join(cases, 'lossy/reproduce'), '#!/bin/sh\n', {mode: 0o755})
  await writeFile(join(folder, '0001-a.patch'), letter({subject: '[PATCH firewall4] fw4: do it', diff}))
  const one: Place = {repo, source: repo.folder, home, cases, folder, base: await repo.git('rev-parse', 'HEAD')}
  const said = await dryRun(one, '--cc', 'more@example.org')
  expect(said.recipients.map(({as, email, reason}) => `${as} ${email} ${reason}`)).toEqual([
    'To more@example.org --cc',
    'To openwrt-devel@lists.openwrt.org open list:OpenWrt',
  ])
  expect(said.mails.map(({subject}) => subject)).toEqual(['[PATCH firewall4] fw4: do it'])
  expect(said.notes.join()).not.toContain('get_maintainer.pl')
  expect(await amended(one, said)).toBe(said.tree)
})

it('makes no mail of what nobody sees', async () => {
  const one = await single()
  const file = join(one.folder, '0001-a.patch')
  await writeFile(file, (await readFile(file, 'utf8')).replace(/^From: .*$/m, 'From: =?utf-8?q?Ann_=1B[8mAuthor?= <ann@example.org>'))
  const {exitCode, stdout, stderr} = await patchbench(one, ['send', '--override', 'no matter'])
  expect({exitCode, stdout}).toEqual({exitCode: 2, stdout: ''})
  expect(stderr).toMatch(/^patchbench: 0001-a\.patch: the author's From has U\+001B, which nobody sees, in it: write it without; no mail is made of it$/m)
})

it('refuses bad words with one sentence, exit 2', async () => {
  const one = await single()
  for (const [args, words] of [
    [['--send', '--to-review'], /--send and --to-review are different things/],
    [['--arrived', '1'], /they go with --resume/],
    [['--in-reply-to', 'x'], /is no message-id/],
    [['--tags', '/none'], /ENOENT|--tags \/none is not there/],
    [['--results', '/none'], /--results \/none has no results\.json/],
    [['--previous', '/none'], /the series \/none is not there/],
    [['--candidate', 'none'], /has no candidate 'none'/],
    [['--kernel', '6.1'], /has no series for 6\.1/],
  ] as const) {
    const {exitCode, stdout, stderr} = await patchbench(one, ['send', ...args])
    expect({exitCode, stdout}, stderr).toEqual({exitCode: 2, stdout: ''})
    expect(stderr).toMatch(words)
  }
})
