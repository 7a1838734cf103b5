import {access} from 'node:fs/promises'
import {join} from 'node:path'
import {CouldNotRun} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {findProgram} from '../lib/hostpath.js'
import {printable} from '../lib/text.js'
import {addressText} from './header.js'
import {type Person} from './message.js'
import {type Recipient} from './recipients.js'

/** What came of handing over a mail; `unknown`: it may have arrived. */
export type Handed = {state: 'sent'} | {state: 'refused' | 'unknown'; words: string}

export type Handover = {file: string; sender: Person; recipients: readonly Recipient[]; /** Everything but the sending. */ dryRun: boolean}

/** @throws CouldNotRun where git send-email is not installed */
export async function needSendEmail(signal: AbortSignal): Promise<void> {
  const {stdout} = await git('/', ['--exec-path'], {signal})
  const there = await access(join(stdout.trim(), 'git-send-email')).then(
    () => true,
    () => false,
  )
  if (!there || !(await findProgram('perl'))) throw new CouldNotRun("git send-email is not installed; 'patchbench doctor' says which package holds it")
}

/**
 * Hands one mail to `git send-email`, as the user has set that up (the
 * sendemail.* settings that git has in the current folder). Who gets it is
 * what we say, whatever the settings and the mail's trailers say.
 */
export async function handOver(signal: AbortSignal, {file, sender, recipients, dryRun}: Handover): Promise<Handed> {
  const addressed = recipients.map((one) => `--${one.as.toLowerCase()}=${addressText(one)}`)
  const words = [
    ...['send-email', `--from=${addressText(sender)}`, '--no-to', '--no-cc', '--no-bcc', '--to-cmd=true'],
    ...['--suppress-cc=author', '--suppress-cc=cccmd', '--suppress-cc=body', '--confirm=never', '--no-annotate', '--no-format-patch'],
    ...['--no-thread', '--no-chain-reply-to', '--8bit-encoding=UTF-8', '--transfer-encoding=auto', '--smtp-debug=1'],
    ...[...addressed, ...(dryRun ? ['--dry-run'] : []), file],
  ]
  const program = await sendsByProgram(signal)
  const {exitCode, all} = await git(process.cwd(), words, {signal, allowedExits: 'any'})
  if (exitCode === 0) return {state: 'sent'}
  return dryRun ? {state: 'refused', words: gitsWords(all)} : outcomeOf(all, program)
}

/** Whether a program of the user's (msmtp, sendmail) takes the mails: what it did cannot be seen. */
async function sendsByProgram(signal: AbortSignal): Promise<boolean> {
  const {stdout} = await git(process.cwd(), ['config', '--get-regexp', '^sendemail\\..*(smtpserver|sendmailcmd)$'], {signal, allowedExits: [0, 1]})
  return stdout.split('\n').some((line) => /smtpserver\s+[/~]|sendmailcmd\s/i.test(line))
}

/**
 * What became of a mail at which git send-email ended, from the dialogue with
 * the server: after the lone dot that ends a mail (RFC 5321, 4.1.1.4) it is the
 * server's, and its answer says so. Without an answer nobody knows.
 */
export function outcomeOf(output: string, program = false): Handed {
  const lines = output.split('\n')
  const end = lines.findLastIndex((line) => /^Net::SMTP\S*>>> \.\s*$/.test(line))
  const answer = end === -1 ? undefined : lines.slice(end + 1).map((line) => /^Net::SMTP\S*<<< (\d)\d\d[ -]/.exec(line)?.[1]).find(Boolean)
  if (answer === '2') return {state: 'sent'}
  const words = gitsWords(output)
  if (answer === undefined && (end !== -1 || program)) return {state: 'unknown', words}
  return {state: 'refused', words}
}

/** What the server or git said last, without the dialogue, which may hold a password. */
function gitsWords(output: string): string {
  const lines = printable(output).split('\n')
  const server = lines.map((line) => /^Net::SMTP\S*<<< ([45]\d\d[ -].*)$/.exec(line)?.[1]).filter((line) => line !== undefined)
  const own = lines.filter((line) => line.trim() !== '' && !line.startsWith('Net::SMTP') && !/^(?:\(mbox\)|\(body\)|\(to-cmd\)|MAIL FROM|RCPT TO|Server|OK\.|From:|To:|Cc:|Subject:|Date:|Message-I|X-Mailer|MIME-|Content-)/.test(line))
  return server.at(-1) ?? own.at(-1) ?? 'git send-email does not say why'
}
