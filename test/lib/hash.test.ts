import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {keyOf, sha256, sha256File} from '../../src/lib/hash.js'
import {scratch} from '../support/scratch.js'

// FIPS 180-2, appendix B.1.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'

describe('a hash', () => {
  it('is SHA-256, of a text, of bytes and of a file', async () => {
    const file = join(await scratch(), 'abc')
    await writeFile(file, 'abc')
    expect(sha256('abc')).toBe(ABC)
    expect(sha256(new TextEncoder().encode('abc'))).toBe(ABC)
    expect(await sha256File(file)).toBe(ABC)
  })

  it('of a file larger than one read is that of the whole', async () => {
    const file = join(await scratch(), 'large')
    const bytes = Buffer.alloc(300_000, 'patchbench')
    await writeFile(file, bytes)
    expect(await sha256File(file)).toBe(sha256(bytes))
  })

  it('of a missing file is an error', async () => {
    await expect(sha256File(join(await scratch(), 'none'))).rejects.toThrow('ENOENT')
  })
})

describe('a key', () => {
  it('does not depend on the order of keys, at any depth', () => {
    expect(keyOf({a: 1, b: {c: [1, {d: 2, e: 3}]}})).toBe(keyOf({b: {c: [1, {e: 3, d: 2}]}, a: 1}))
  })

  it.each([
    ['a value', {a: 1}, {a: 2}],
    ['a type', {a: 1}, {a: '1'}],
    ['the order of a list', {a: [1, 2]}, {a: [2, 1]}],
    ['a name', {a: 1}, {b: 1}],
    ['one input more', {a: 1}, {a: 1, b: null}],
    ['where a word ends', ['ab', 'c'], ['a', 'bc']],
  ])('changes with %s', (_, one, other) => {
    expect(keyOf(one)).not.toBe(keyOf(other))
  })

  it('is a short name for a folder', () => {
    expect(keyOf({a: 1})).toMatch(/^[\da-f]{32}$/)
  })
})
