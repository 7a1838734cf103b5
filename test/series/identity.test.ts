import {expect, it} from 'vitest'
import {codeOf, textOf} from '../../src/series/identity.js'
import {creation, fileWith, mail, read} from '../support/repository.js'

async function both(text: string): Promise<{code: string; text: string}> {
  const series = await read(await fileWith(text))
  return {code: codeOf(series), text: textOf(series)}
}

it('a series is the same code whatever is said of it, and another text', async () => {
  const plain = await both(mail(creation('a.c')))
  const index = creation('a.c').replace('8e27be7d6154', 'ffffffff')
  for (const other of [mail(creation('a.c'), {subject: '[PATCH v2] b'}), mail(creation('a.c'), {body: 'Because.\n'}), mail(creation('a.c'), {from: 'B <b@example.org>'}), mail(index)]) {
    const {code, text} = await both(other)
    expect(code).toBe(plain.code)
    expect(text).not.toBe(plain.text)
  }
})

it('a series whose diffs differ is other code', async () => {
  const {code} = await both(mail(creation('a.c')))
  for (const other of [creation('b.c'), creation('a.c', {content: 'x\n'}), creation('a.c', {mode: '100755'}), creation('a.c') + creation('b.c')]) {
    expect((await both(mail(other))).code).not.toBe(code)
  }
})
