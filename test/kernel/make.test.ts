import {describe, expect, it} from 'vitest'
import {firstError} from '../../src/kernel/make.js'

const first = (...lines: string[]) => firstError(lines.join('\n'), '/cache/x.partial/build', '/work/livepatch/one')

describe('the first error of a build', () => {
  it('is the compiler\'s, in the user\'s file', () => {
    expect(
      first(
        "make: Entering directory '/headers'",
        '  CC [M]  /cache/x.partial/build/livepatch-one.o',
        '/cache/x.partial/build/livepatch-one.c: In function ‘fixed’:',
        '/cache/x.partial/build/livepatch-one.c:9:3: warning: unused variable ‘x’ [-Wunused-variable]',
        '/cache/x.partial/build/livepatch-one.c:12:5: error: implicit declaration of function ‘foo’',
        '/cache/x.partial/build/livepatch-one.c:13:5: error: too few arguments',
        'make[1]: *** [scripts/Makefile.build:255: /cache/x.partial/build/livepatch-one.o] Error 1',
        'make: *** [Makefile:2044: /cache/x.partial/build] Error 2',
      ),
    ).toBe('/work/livepatch/one/livepatch-one.c:12:5: error: implicit declaration of function ‘foo’')
  })

  it('is a missing header', () => {
    const line = '/cache/x.partial/build/livepatch-one.c:3:10: fatal error: net/foo.h: No such file or directory'
    expect(first('  CC [M]', line, 'compilation terminated.')).toBe(line.replace('/cache/x.partial/build', '/work/livepatch/one'))
  })

  it('is modpost\'s where the compiler had none', () => {
    expect(first('  MODPOST', 'ERROR: modpost: "ip_mr_forward" [livepatch-one.ko] undefined!', 'make: *** [Makefile:1] Error 1')).toBe(
      'ERROR: modpost: "ip_mr_forward" [livepatch-one.ko] undefined!',
    )
  })

  it('is the full disk\'s', () => {
    expect(first('/usr/bin/ld: final link failed: No space left on device', 'make: *** Error 1')).toContain('No space left on device')
  })

  it('is the last line where nothing looks like an error', () => {
    expect(first('make: Entering', 'make: *** No rule to make target.  Stop.', '')).toBe('make: *** No rule to make target.  Stop.')
    expect(first('')).toBe('make said nothing')
  })
})
