import {expect, it} from 'vitest'
import {namesOfHeader, unquote, withoutPrefix} from '../../src/series/names.js'

it.each([
  ['a/plain', 'a/plain'],
  ['"a/\\303\\244"', 'a/ä'],
  ['"a/tab\\there"', 'a/tab\there'],
  ['"a/quote\\"and\\\\"', 'a/quote"and\\'],
  ['"a/..\\057x"', 'a/../x'],
  ['"a/n\\000ul"', 'a/n\0ul'],
])('%s is %s', (written, name) => expect(unquote(written)).toBe(name))

it.each([
  ['a/x/y', 'x/y'],
  ['/dev/null', undefined],
  ['/etc/passwd', '/etc/passwd'],
  ['a//etc/passwd', '/etc/passwd'],
])('%s without its prefix is %s', (name, rest) => expect(withoutPrefix(name)).toBe(rest))

it.each([
  ['diff --git a/x b/x', ['a/x', 'b/x']],
  ['diff --git a/x y b/x y', ['a/x y', 'b/x y']],
  ['diff --git "a/\\303\\244" "b/\\303\\244"', ['a/ä', 'b/ä']],
  ['diff --git a/x y b/z', undefined],
])('%s names %j', (line, names) => expect(namesOfHeader(line)).toEqual(names))
