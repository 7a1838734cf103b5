import {mkdir, writeFile} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {describe, expect, it} from 'vitest'
import {InputError} from '../../src/lib/errors.js'
import {fragmentText, parseFragment, readFragments} from '../../src/kernel/fragment.js'
import {complaint} from '../support/complaint.js'
import {scratch} from '../support/scratch.js'

/** What one line asks for, in short. */
function asked(line: string): string {
  return parseFragment(line, 'a.config').map(({symbol, value}) => `${symbol} ${value}`).join()
}

/** The paths of files with these texts, named 0.config and so on. */
async function fragments(...texts: string[]): Promise<string[]> {
  const folder = join(await scratch(), 'kconfigs')
  await mkdir(folder)
  const files = texts.map((_, index) => join(folder, `${index}.config`))
  for (const [index, file] of files.entries()) await writeFile(file, texts[index]!)
  return files
}

describe('a line of a fragment', () => {
  it.each([
    ['CONFIG_NET=y', 'NET y'],
    ['CONFIG_NET_VRF=m  # a module', 'NET_VRF m'],
    ['CONFIG_IPV6=n', 'IPV6 n'],
    ['# CONFIG_IPV6 is not set', 'IPV6 n'],
    ['CONFIG_LOG_BUF_SHIFT=18 # 256 KiB', 'LOG_BUF_SHIFT 18'],
    ['CONFIG_PANIC_TIMEOUT=-1', 'PANIC_TIMEOUT -1'],
    ['CONFIG_PHYSICAL_START=0x1000000', 'PHYSICAL_START 0x1000000'],
    ['CONFIG_CMDLINE="console=ttyS0 # no reason"  # the reason', 'CMDLINE "console=ttyS0 # no reason"'],
    ['CONFIG_LOCALVERSION=""', 'LOCALVERSION ""'],
    ['CONFIG_NET=y\r', 'NET y'],
    ['', ''],
    ['  ', ''],
    ['# why what follows is needed', ''],
    ['# CONFIG_NET=y', ''],
  ])('%j', (line, expected) => {
    expect(asked(line)).toBe(expected)
  })

  it.each(['NET=y', 'CONFIG_NET', 'CONFIG_NET =y', 'CONFIG_NET=yes', 'CONFIG_NET=', 'CONFIG_NET=y and more', 'CONFIG_CMDLINE=quiet', 'CONFIG_CMDLINE="open', 'CONFIG_A=0xg', 'CONFIG_NET is not set'])(
    '%j is refused with its place',
    (line) => {
      expect(() => parseFragment(`CONFIG_A=y\n\n${line}\n`, 'kconfigs/a.config')).toThrow(
        new InputError(`kconfigs/a.config:3: '${line}' is no option: write CONFIG_NAME=y, m, n, a number or "text"`),
      )
    },
  )
})

describe('fragments', () => {
  it('are heard in turn, and of two that ask for the same the later one', async () => {
    const files = await fragments('# first\nCONFIG_A=y\nCONFIG_B=y\n', 'CONFIG_C=1\n# CONFIG_A is not set\n')
    const at = (index: number, line: number) => `${relative(process.cwd(), files[index]!)}:${line}`
    expect(await readFragments(files)).toEqual([
      {symbol: 'A', value: 'n', where: at(1, 2)},
      {symbol: 'B', value: 'y', where: at(0, 3)},
      {symbol: 'C', value: '1', where: at(1, 1)},
    ])
    expect(await readFragments([])).toEqual([])
  })

  it('are named where one cannot be read', async () => {
    const files = await fragments('CONFIG_A=y\n', 'CONFIG_B=y\nB=y\n')
    expect(await complaint(readFragments(files))).toMatch(/kconfigs\/1\.config:2: 'B=y' is no option/)
  })

  it('become what kconfig reads', () => {
    const lines = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="a b"\nCONFIG_D=0x10\n'
    expect(fragmentText(parseFragment(lines, 'a.config'))).toBe(lines)
    expect(fragmentText(parseFragment('CONFIG_B=n # off', 'a.config'))).toBe('# CONFIG_B is not set\n')
    expect(fragmentText([])).toBe('')
  })
})

describe('an option that only newer kernels have', () => {
  const TEXT = 'CONFIG_NET=y\nCONFIG_BASIC_MODVERSIONS=y  # since 6.14: modules hold no versions without it\n'

  it.each([
    ['6.9', 'NET'],
    ['6.12', 'NET'],
    ['6.14', 'NET BASIC_MODVERSIONS'],
    ['7.2', 'NET BASIC_MODVERSIONS'],
    [undefined, 'NET BASIC_MODVERSIONS'],
  ])('on %s', async (line, expected) => {
    const options = await readFragments(await fragments(TEXT), line)
    expect(options.map(({symbol}) => symbol).join(' ')).toBe(expected)
  })

  it('is one where that is how the reason begins', () => {
    expect(parseFragment('CONFIG_NET=y # not since 6.14: ever\nCONFIG_A=y # since 6.14 it is so\nCONFIG_B=y #since 6.1: so', 'a.config').map(({since}) => since)).toEqual([undefined, undefined, '6.1'])
  })
})
