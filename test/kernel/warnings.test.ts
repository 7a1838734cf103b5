import {describe, expect, it} from 'vitest'
import {newWarnings, warningsIn} from '../../src/kernel/warnings.js'

const UNUSED = 'net/ipv4/ip_output.c:12:6: warning: unused variable ‘x’ [-Wunused-variable]'

describe('the warnings of a build', () => {
  it.each([
    ['the compiler\'s, without the way up', `../${UNUSED}`, UNUSED],
    ['one from a folder deeper', `../../${UNUSED}`, UNUSED],
    ['one of kernel-doc, which has no column', '../net/ipv4/route.c:7: warning: Function parameter or struct member \'skb\' not described in \'fib\'', 'net/ipv4/route.c:7: warning: Function parameter or struct member \'skb\' not described in \'fib\''],
    ['one in a header', '../include/net/ip.h:1:1: warning: no newline', 'include/net/ip.h:1:1: warning: no newline'],
    ['objtool\'s', 'net/ipv4/route.o: warning: objtool: fib+0x1f: unreachable instruction', 'net/ipv4/route.o: warning: objtool: fib+0x1f: unreachable instruction'],
    ['modpost\'s', 'WARNING: modpost: missing MODULE_DESCRIPTION() in net/foo.o', 'WARNING: modpost: missing MODULE_DESCRIPTION() in net/foo.o'],
  ])('are %s', (_, line, expected) => {
    expect(warningsIn(`  CC      net/a.o\n${line}\n  CC      net/b.o`)).toEqual([expected])
  })

  it.each([
    ['an error', 'net/ipv4/ip_output.c:12:6: error: expected ‘;’'],
    ['a note', 'net/ipv4/ip_output.c:12:6: note: in expansion of macro ‘skb’'],
    ['the function it is in', '../net/ipv4/ip_output.c: In function ‘ip_output’:'],
    ['the code below it', '   12 |         int x; /* warning: not */'],
    ['what is made', '  CC      net/warning.o'],
    ['nothing', ''],
  ])('are not %s', (_, line) => {
    expect(warningsIn(line)).toEqual([])
  })
})

describe('the new warnings', () => {
  const moved = UNUSED.replace(':12:6:', ':14:9:')
  const other = UNUSED.replace('‘x’', '‘y’')
  const objtool = 'net/ipv4/route.o: warning: objtool: fib+0x1f: unreachable instruction'

  it.each<[string, string[], string[], string[]]>([
    ['are all where there were none', [], [UNUSED, other], [UNUSED, other]],
    ['are not those that are gone', [UNUSED], [], []],
    ['are not one that moved to another line', [UNUSED], [moved], []],
    ['are not one that moved within its function', [objtool], [objtool.replace('0x1f', '0x2a')], []],
    ['are the second of two that are alike', [UNUSED], [UNUSED, moved], [moved]],
    ['are none of two that were two', [UNUSED, UNUSED], [moved, UNUSED], []],
    ['are one about something else', [UNUSED], [UNUSED, other], [other]],
    ['are the same one in another file', [UNUSED], [UNUSED.replace('output', 'input')], [UNUSED.replace('output', 'input')]],
  ])('%s', (_, before, after, expected) => {
    expect(newWarnings(before, after)).toEqual(expected)
  })
})
