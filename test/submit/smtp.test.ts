import {describe, expect, it} from 'vitest'
import {outcomeOf} from '../../src/submit/smtp.js'

const SAYS = 'Net::SMTP=GLOB(0x5605a0a4ef28)'
const UP_TO_DATA = [`${SAYS}<<< 220 host ESMTP`, `${SAYS}>>> MAIL FROM:<a@example.org>`, `${SAYS}<<< 250 Accepted`, `${SAYS}>>> DATA`, `${SAYS}<<< 354 go on`]

describe('what became of a mail, from the dialogue', () => {
  it.each<[string, string[], string]>([
    ['it was refused before it was handed over', [`${SAYS}<<< 220 host`, `${SAYS}>>> RCPT TO:<b@example.org>`, `${SAYS}<<< 550 no such user`], 'refused'],
    ['no server answered', ['Unable to initialize SMTP properly. Check config and use --smtp-debug.'], 'refused'],
    ['the server went away within the text', [...UP_TO_DATA, `${SAYS}>>> Subject: x`], 'refused'],
    ['the server took it and was not heard of again', [...UP_TO_DATA, `${SAYS}>>> text`, `${SAYS}>>> .`], 'unknown'],
    ['the server took it and said so, and died then', [...UP_TO_DATA, `${SAYS}>>> .`, `${SAYS}<<< 250 queued`, `${SAYS}>>> QUIT`], 'sent'],
    ['the server took it and refused it', [...UP_TO_DATA, `${SAYS}>>> .`, `${SAYS}<<< 554 spam`], 'refused'],
    ['a line of its text says what a server would', [...UP_TO_DATA, `${SAYS}>>> .`, `${SAYS}>>> Net::SMTP<<< 250 queued`, `${SAYS}>>> ${SAYS}<<< 250 queued`], 'unknown'],
  ])('%s: %s', (_, lines, state) => {
    expect(outcomeOf(lines.join('\n')).state).toBe(state)
  })

  it('is unknown where a program took it', () => {
    expect(outcomeOf('sendmail: queue is full', true)).toEqual({state: 'unknown', words: 'sendmail: queue is full'})
  })

  it('says the words of the server, and never what it was told', () => {
    const lines = [`${SAYS}>>> AUTH PLAIN AGFubgBzZWNyZXQ=`, `${SAYS}<<< 535 5.7.8 no`, 'died at line 3']
    expect(outcomeOf(lines.join('\n'))).toEqual({state: 'refused', words: '535 5.7.8 no'})
    expect(outcomeOf(`${SAYS}>>> AUTH PLAIN AGFubgBzZWNyZXQ=`)).toEqual({state: 'refused', words: 'git send-email does not say why'})
  })
})
