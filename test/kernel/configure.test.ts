import {describe, expect, it} from 'vitest'
import {droppedOptions, reason} from '../../src/kernel/configure.js'
import {parseFragment} from '../../src/kernel/fragment.js'

/** What of a fragment a .config has not: `SYMBOL wanted>held`. */
function dropped(fragment: string, config: string): string[] {
  return droppedOptions(parseFragment(fragment, 'a.config'), config).map(({symbol, value, held}) => `${symbol} ${value}>${held ?? ''}`)
}

describe('what kconfig dropped', () => {
  const CONFIG = `#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_NET=y
CONFIG_NET_VRF=m
# CONFIG_IPV6 is not set
CONFIG_LOG_BUF_SHIFT=17
CONFIG_PHYSICAL_START=0x1000000
CONFIG_CMDLINE="console=ttyS0 a=b"
CONFIG_NETDEVICES=y
`

  it.each([
    ['what is as asked', 'CONFIG_NET=y\nCONFIG_NET_VRF=m\nCONFIG_LOG_BUF_SHIFT=17\nCONFIG_PHYSICAL_START=0x1000000\nCONFIG_CMDLINE="console=ttyS0 a=b"\n', []],
    ['what is off, and what there is nothing of', '# CONFIG_IPV6 is not set\n# CONFIG_NO_SUCH is not set\n', []],
    ['what is off and was asked for', 'CONFIG_IPV6=y\n', ['IPV6 y>']],
    ['what the kernel has not', 'CONFIG_NO_SUCH=y\nCONFIG_NO_TEXT=""\n', ['NO_SUCH y>', 'NO_TEXT "">']],
    ['what is on and was to be off', '# CONFIG_NET is not set\n', ['NET n>y']],
    ['a module that was to be built in', 'CONFIG_NET_VRF=y\n', ['NET_VRF y>m']],
    ['another number or text', 'CONFIG_LOG_BUF_SHIFT=99\nCONFIG_CMDLINE="quiet"\n', ['LOG_BUF_SHIFT 99>17', 'CMDLINE "quiet">"console=ttyS0 a=b"']],
    ['a name that only starts alike', 'CONFIG_NETDEV=y\n', ['NETDEV y>']],
  ])('%s', (_, fragment, expected) => {
    expect(dropped(fragment, CONFIG)).toEqual(expected)
  })

  it('keeps its place in the fragment', () => {
    expect(droppedOptions(parseFragment('CONFIG_NET=y\nCONFIG_IPV6=y', 'a.config'), CONFIG)).toEqual([{symbol: 'IPV6', value: 'y', where: 'a.config:2', held: undefined}])
  })
})

// What kconfigs/relations.c printed on linux 6.12.117, lists shortened.

const RETPOLINE = `Dependencies: not met
Symbol: MITIGATION_RETPOLINE [=n]
Type  : bool
Defined at arch/x86/Kconfig:2526
  Prompt: Avoid speculative indirect branches in kernel
  Depends on: CPU_MITIGATIONS [=n]
  Location:
    -> Mitigations for CPU vulnerabilities (CPU_MITIGATIONS [=n])
      -> Avoid speculative indirect branches in kernel (MITIGATION_RETPOLINE [=n])
Selects: OBJTOOL [=y]


`

const KALLSYMS_ALL = `Dependencies: not met
Symbol: KALLSYMS_ALL [=n]
Type  : bool
Defined at init/Kconfig:1860
  Prompt: Include all symbols in kallsyms
  Depends on: DEBUG_KERNEL [=n] && KALLSYMS [=y]
  Location:
    -> General setup
      -> Configure standard kernel features (expert users) (EXPERT [=n])
        -> Load all symbols for debugging/ksymoops (KALLSYMS [=y])
          -> Include all symbols in kallsyms (KALLSYMS_ALL [=n])
Selected by [n]:
  - LOCKDEP [=n] && DEBUG_KERNEL [=n] && LOCK_DEBUGGING_SUPPORT [=y]


`

const X86_32 = `Dependencies: not met
Symbol: X86_32 [=n]
Type  : bool
Defined at arch/x86/Kconfig:10
  Depends on: !64BIT [=y]
Selects: ARCH_WANT_IPC_PARSE_VERSION [=n] && CLKSRC_I8253 [=n]


`

const HZ_250 = `Dependencies: met
Visible: yes
Choice: Timer frequency
Holder: HZ_1000
Symbol: HZ_250 [=n]
Type  : bool
Defined at kernel/Kconfig.hz:27
  Prompt: 250 HZ
  Location:
    -> Processor type and features
      -> Timer frequency (<choice> [=n])
        -> 250 HZ (HZ_250 [=n])


`

// Of linux 7.2.
const PREEMPT_VOLUNTARY = `Dependencies: met
Visible: no
Choice: Preemption Model
Holder: PREEMPT_LAZY
Symbol: PREEMPT_VOLUNTARY [=n]
Type  : bool
Defined at kernel/Kconfig.preempt:38
  Prompt: Voluntary Kernel Preemption (Desktop)
  Depends on: !ARCH_HAS_PREEMPT_LAZY [=y] && !ARCH_NO_PREEMPT [=n] && !PREEMPT_RT [=n]
  Location:
    -> General setup
      -> Preemption Model (<choice> [=n])
        -> Voluntary Kernel Preemption (Desktop) (PREEMPT_VOLUNTARY [=n])
Selects: PREEMPT_VOLUNTARY_BUILD [=n]


`

const CC_HAS_COUNTED_BY = `Dependencies: met
Symbol: CC_HAS_COUNTED_BY [=n]
Type  : bool
Defined at init/Kconfig:126
  Depends on: !CC_IS_CLANG [=n] || CLANG_VERSION [=0]>=190103


`

const ACPI_TABLE_LIB = `Dependencies: met
Symbol: ACPI_TABLE_LIB [=n]
Type  : bool
Defined at drivers/acpi/Kconfig:61
  Depends on: ACPI [=y]
Selected by [n]:
  - CXL_ACPI [=n] && CXL_BUS [=n] && ACPI [=y] && ACPI_NUMA [=n]


`

const ZLIB_INFLATE = `Dependencies: met
Symbol: ZLIB_INFLATE [=y]
Type  : tristate
Defined at lib/Kconfig:313
Selected by [y]:
  - DECOMPRESS_GZIP [=y]
Selected by [n]:
  - BTRFS_FS [=n] && BLOCK [=y] && PAGE_SIZE_LESS_THAN_256KB [=y]
  - CRYPTO_DEFLATE [=n] && CRYPTO [=y]


`

const CRC32 = `Dependencies: met
Symbol: CRC32 [=y]
Type  : tristate
Defined at lib/Kconfig:171
  Prompt: CRC32/CRC32c functions
  Location:
    -> Library routines
      -> CRC32/CRC32c functions (CRC32 [=y])
Selects: BITREVERSE [=y]
Selected by [y]:
  - ACPI [=y] && ARCH_SUPPORTS_ACPI [=y]
  - TUN [=y] && NETDEVICES [=y] && NET_CORE [=y] && INET [=y]
Selected by [n]:
  - PLDMFW [=n]


`

const LOG_BUF_SHIFT = `Dependencies: met
Visible: yes
Symbol: LOG_BUF_SHIFT [=25]
Type  : integer
Range : [12 25]
Defined at init/Kconfig:765
  Prompt: Kernel log buffer size (16 => 64KB, 17 => 128KB)
  Depends on: PRINTK [=y]
  Location:
    -> General setup
      -> Kernel log buffer size (16 => 64KB, 17 => 128KB) (LOG_BUF_SHIFT [=25])


`

const FUTEX = `Dependencies: met
Visible: no
Symbol: FUTEX [=y]
Type  : bool
Defined at init/Kconfig:1677
  Prompt: Enable futex support
  Depends on: !SPARC32 || !SMP [=y]
  Visible if: (!SPARC32 || !SMP [=y]) && EXPERT [=n]
  Location:
    -> General setup
      -> Configure standard kernel features (expert users) (EXPERT [=n])
        -> Enable futex support (FUTEX [=y])
Implies: RT_MUTEXES [=y]


`

describe('the reason of a dropped option', () => {
  it.each<[what: string, held: string | undefined, relations: string | undefined, sentence: string]>([
    ['is what it depends on', undefined, RETPOLINE, 'it depends on CPU_MITIGATIONS [=n]'],
    ['is all that it depends on, with the values', undefined, KALLSYMS_ALL, 'it depends on DEBUG_KERNEL [=n] && KALLSYMS [=y]'],
    ['is what it depends on, where that is on and must not be', undefined, X86_32, 'it depends on !64BIT [=y]'],
    ['is that it has no prompt, where what it depends on is met', undefined, CC_HAS_COUNTED_BY, 'it has no prompt, and no option selects it'],
    ['is that nothing selects it now', undefined, ACPI_TABLE_LIB, 'it has no prompt, other options select it: CXL_ACPI [=n] && CXL_BUS [=n] && ACPI [=y] && ACPI_NUMA [=n]'],
    ['is what selects it without a prompt', 'y', ZLIB_INFLATE, 'it has no prompt, other options select it: DECOMPRESS_GZIP [=y]'],
    ['is everything that selects it, and not what does not', 'y', CRC32, 'it is y: ACPI [=y] && ARCH_SUPPORTS_ACPI [=y], TUN [=y] && NETDEVICES [=y] && NET_CORE [=y] && INET [=y]'],
    ['is the choice, and the member that it has', undefined, HZ_250, "of the choice 'Timer frequency' only one is set, and that is CONFIG_HZ_1000, which own.config:2 asks for: ask for one of them"],
    ['is what a member of a choice depends on', undefined, PREEMPT_VOLUNTARY, "it depends on !ARCH_HAS_PREEMPT_LAZY [=y] && !ARCH_NO_PREEMPT [=n] && !PREEMPT_RT [=n]; of the choice 'Preemption Model' only one is set, and that is CONFIG_PREEMPT_LAZY"],
    ['is its range', '25', LOG_BUF_SHIFT, 'it is 25, and has to be within [12 25]'],
    ['is kconfig\'s text where nothing else is known', 'n', HZ_250.replace(/^(?:Choice|Holder).*\n/gm, ''), `it is n, and kconfig says\n${HZ_250.slice(HZ_250.indexOf('Symbol')).trim()}`],
    ['is what it is visible for', 'y', FUTEX, 'it is y, and can be set only if (!SPARC32 || !SMP [=y]) && EXPERT [=n]'],
    ['is that there is none, whatever make had to say', undefined, 'make: a warning\n', 'this kernel has no such option'],
    ['is that there is none', undefined, '', 'this kernel has no such option'],
    ['is that there is none, where kconfig was silent', undefined, undefined, 'this kernel has no such option'],
  ])('%s', (_, held, relations, sentence) => {
    expect(reason({held}, relations, parseFragment('CONFIG_NET=y\nCONFIG_HZ_1000=y\n', 'own.config'))).toBe(sentence)
  })
})
