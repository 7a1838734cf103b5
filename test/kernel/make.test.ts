import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {BuildFailed, firstError, make} from '../../src/kernel/make.js'
import {Interrupted} from '../../src/lib/errors.js'
import {processesOn} from '../support/patchbench.js'
import {DELEGATE} from '../support/series.js'
import {contextIn, scratch, until} from '../support/scratch.js'

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

  it('is the assembler\'s', () => {
    const lines = ['one.c: Assembler messages:', 'one.c:42: Error: file not found: /home/me/secret', 'make[3]: *** [scripts/Makefile.build:255: one.o] Error 1', "make: Leaving directory '/x'"]
    expect(first(...lines)).toBe('one.c:42: Error: file not found: /home/me/secret')
  })

  it('is the full disk\'s', () => {
    expect(first('/usr/bin/ld: final link failed: No space left on device', 'make: *** Error 1')).toContain('No space left on device')
  })

  it('is the last line where nothing looks like an error', () => {
    expect(first('make: Entering', 'make: *** No rule to make target.  Stop.', '')).toBe('make: *** No rule to make target.  Stop.')
    expect(first('')).toBe('make said nothing')
  })
})

/** A build folder with a Makefile. */
async function folderWith(makefile: string): Promise<string> {
  const source = await scratch()
  const build = join(source, 'build')
  await mkdir(build)
  await writeFile(join(source, 'Makefile'), DELEGATE)
  await writeFile(join(build, 'Makefile'), makefile)
  return build
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('make', () => {
  const OBJECTS = "all:\n\t@echo '  CC      a.o'\n\t@echo '  AS      b.o'\n\t@echo '  CC [M]  c.ko' >&2\n\t@echo '  LD      vmlinux'\n"

  it('counts the objects, and gives what was printed', async () => {
    const made = await make(contextIn('/nowhere'), 'linux', {build: await folderWith(OBJECTS), arguments: ['all']})
    expect(made.objects).toBe(3)
    expect(made.output.split('\n').sort()).toEqual(['  AS      b.o', '  CC      a.o', '  CC [M]  c.ko', '  LD      vmlinux'])
  })

  it.each([
    [{expected: 1900}, 'building linux: 1 of about 1900 objects'],
    [{}, 'building linux: 1 objects'],
  ])('says how far it is, and not of every line: %j', async (more, said) => {
    const context = contextIn('/nowhere')
    await make(context, 'linux', {build: await folderWith("all:\n\t@seq -f '  CC      %g.o' 500\n"), arguments: [], ...more})
    expect(context.said[0]).toBe(said)
    // Once a second, however slow this machine is.
    expect(context.said.length).toBeLessThan(50)
  })

  it('adds all that was printed to the log', async () => {
    const build = await folderWith("one two:\n\t@echo making $@\n\t@echo '$@ warns' >&2\n")
    const log = join(build, 'kept.log')
    for (const goal of ['one', 'two']) await make(contextIn('/nowhere'), 'linux', {build, arguments: [goal], log})
    expect((await readFile(log, 'utf8')).split('\n').sort()).toEqual(['', 'making one', 'making two', 'one warns', 'two warns'])
  })

  it('has what makes two builds the same in its environment', async () => {
    const build = await folderWith('all:\n\t@echo $$KBUILD_BUILD_TIMESTAMP $$KBUILD_BUILD_USER@$$KBUILD_BUILD_HOST $(LOCALVERSION) $$LC_ALL\n')
    expect((await make(contextIn('/nowhere'), 'linux', {build, arguments: []})).output).toBe('1970-01-01 patchbench@localhost -patchbench C.UTF-8')
  })

  it('may leave the processor to everybody else', async () => {
    const build = await folderWith('all:\n\t@chrt --pid $$$$\n')
    const policy = async (idle: boolean) => (await make(contextIn('/nowhere'), 'linux', {build, arguments: [], idle})).output
    expect(await policy(true)).toContain('SCHED_IDLE')
    expect(await policy(false)).not.toContain('SCHED_IDLE')
  })

  it('that fails gives the first error, and keeps the log', async () => {
    const build = await folderWith("all:\n\t@echo '  CC      a.o'\n\t@echo '../net/a.c:1:2: error: no such thing' >&2\n\t@echo '../net/a.c:3:4: error: nor this'\n\t@false\n")
    const log = join(build, 'kept.log')
    const error = await failure(make(contextIn('/nowhere'), 'linux 6.12.7', {build, arguments: [], log}))
    expect(error).toBeInstanceOf(BuildFailed)
    expect(error).toMatchObject({
      message: 'linux 6.12.7 does not build: net/a.c:1:2: error: no such thing',
      firstError: 'net/a.c:1:2: error: no such thing',
      detail: `the whole log is in ${log}`,
    })
    expect(await readFile(log, 'utf8')).toMatch(/nor this\n(.*\n)*make: \*\*\* .* Error \d\n$/)
  })

  it('that fails without a log names none', async () => {
    const error = await failure(make(contextIn('/nowhere'), 'linux', {build: await folderWith('all:\n\t@false\n'), arguments: []}))
    expect(error).toMatchObject({detail: '', message: expect.stringMatching(/^linux does not build: make: \*\*\* .*Error \d$/)})
  })

  it('builds without its log where that cannot be written', async () => {
    const build = await folderWith(OBJECTS)
    expect(await make(contextIn('/nowhere'), 'linux', {build, arguments: [], log: join(build, 'nowhere/kept.log')})).toMatchObject({objects: 3})
  })

  it('that is aborted leaves no process', async () => {
    const build = await folderWith("all: one two\none two:\n\t@echo '  CC      $@.o'\n\t@trap '' TERM; sleep 99 & wait; sleep 99\n")
    const controller = new AbortController()
    const context = contextIn('/nowhere', controller.signal)
    const made = failure(make(context, 'linux', {build, arguments: []}))
    expect(await until(async () => context.said.length > 0 && (await processesOn(build)).some((command) => /^\d+ sleep/.test(command)), 20_000)).toBe(true)
    controller.abort(new Interrupted())
    expect(await made).toBeInstanceOf(Interrupted)
    expect(await processesOn(build)).toEqual([])
  })
})
