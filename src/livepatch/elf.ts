// A module as the kernel's own loader reads it: ELF64, little-endian, relocatable (elf(5), kernel/module/main.c).

/** What a module says of itself, as modinfo(8) shows it, and what its livepatch replaces. */
export type ModuleFacts = {
  name: string
  vermagic: string
  /** Absent where the kernel's configuration has no MODULE_SRCVERSION_ALL. */
  srcversion: string | undefined
  /** Of the linker, in hexadecimal; the running kernel shows it in /sys/module/NAME/notes. */
  buildId: string | undefined
  /** Modules that have to be loaded before it. */
  depends: string[]
  /** CRCs of what it imports, by symbol (CONFIG_MODVERSIONS); empty where the kernel has none. */
  crcs: Record<string, number>
  /** Whether it says that it is a livepatch. */
  livepatch: boolean
  functions: KlpFunction[]
  /** Whether its livepatch takes all others out (klp_patch.replace). */
  replace: boolean
  /** Names of what it defines. */
  symbols: Set<string>
  /** Whether a signature is appended to it. */
  signed: boolean
}

/** A function that a livepatch replaces. */
export type KlpFunction = {
  name: string
  /** Which one of several functions of that name, counted from 1; 0 where there is one (klp_func.old_sympos). */
  position: number
}

type Section = {name: string; type: number; offset: number; size: number; link: number; info: number}
type Relocation = {offset: number; type: number; symbol: ElfSymbol; addend: number}
type ElfSymbol = {name: string; section: number; value: number}

const SHT = {RELA: 4, NOBITS: 8}
const R_X86_64_64 = 1
const EM_X86_64 = 62

/** Of a name, in bytes; the kernel's KSYM_NAME_LEN is 512. */
const LONGEST = 4096

/** Ends a file that scripts/sign-file has signed (include/linux/module_signature.h). */
const SIGNED = '~Module signature appended~\n'

/**
 * Reads a module.
 *
 * @returns undefined when it is no module for x86-64
 */
export function readModule(file: Buffer): ModuleFacts | undefined {
  try {
    return read(file)
  } catch (error) {
    // An offset that leads out of the file.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function read(file: Buffer): ModuleFacts | undefined {
  if (file.toString('latin1', 0, 4) !== '\u007fELF' || file[4] !== 2 || file[5] !== 1 || file.readUInt16LE(18) !== EM_X86_64) return undefined
  const sections = sectionsOf(file)
  const bytes = (name: string) => {
    const section = sections.find((one) => one.name === name)
    return section === undefined || section.type === SHT.NOBITS ? Buffer.alloc(0) : file.subarray(section.offset, section.offset + section.size)
  }
  const info = modinfoOf(bytes('.modinfo'))
  const name = info.get('name')
  if (name === undefined) return undefined
  const symbols = symbolsOf(file, sections)
  return {
    name,
    vermagic: (info.get('vermagic') ?? '').trim(),
    srcversion: info.get('srcversion'),
    buildId: buildIdOf(bytes('.note.gnu.build-id')),
    depends: (info.get('depends') ?? '').split(',').filter(Boolean),
    crcs: crcsOf(bytes('__versions')),
    livepatch: info.get('livepatch') === 'Y',
    ...klpOf(file, sections, symbols),
    symbols: new Set(symbols.filter(({section}) => section > 0).map((symbol) => symbol.name)),
    signed: isSigned(file),
  }
}

export function isSigned(file: Buffer): boolean {
  return file.toString('latin1', Math.max(0, file.length - SIGNED.length)) === SIGNED
}

/** The hash in an ELF note of the linker's, as /sys/module/NAME/notes/.note.gnu.build-id holds it. */
export function buildIdOf(note: Buffer): string | undefined {
  if (note.length < 20 || note.toString('latin1', 12, 15) !== 'GNU' || note.readUInt32LE(4) > 64) return undefined
  return note.toString('hex', 16, 16 + note.readUInt32LE(4))
}

function sectionsOf(file: Buffer): Section[] {
  const start = Number(file.readBigUInt64LE(0x28))
  const size = file.readUInt16LE(0x3a)
  const raw = Array.from({length: file.readUInt16LE(0x3c)}, (_, index) => {
    const at = start + index * size
    return {
      name: file.readUInt32LE(at),
      type: file.readUInt32LE(at + 4),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
      link: file.readUInt32LE(at + 40),
      info: file.readUInt32LE(at + 44),
    }
  })
  const names = raw[file.readUInt16LE(0x3e)]?.offset ?? 0
  return raw.map((section) => ({...section, name: textAt(file, names + section.name)}))
}

function textAt(file: Buffer, offset: number): string {
  // A file without an end of its names must not be searched to its end for each of them.
  const text = file.subarray(offset, offset + LONGEST)
  const end = text.indexOf(0)
  return offset < 0 || end < 0 ? '' : text.toString('latin1', 0, end)
}

/** `key=value` and a NUL each; of a key that is there several times the first counts. */
function modinfoOf(section: Buffer): Map<string, string> {
  const pairs = section.toString('utf8').split('\0').filter(Boolean).map((line) => {
    const at = line.indexOf('=')
    return [line.slice(0, at), line.slice(at + 1)] as const
  })
  return new Map(pairs.reverse())
}

/** struct modversion_info: a CRC of 8 bytes and a name of 56. */
function crcsOf(section: Buffer): Record<string, number> {
  const count = Math.floor(section.length / 64)
  return Object.fromEntries(Array.from({length: count}, (_, index) => [textAt(section, index * 64 + 8), section.readUInt32LE(index * 64)]))
}

function symbolsOf(file: Buffer, sections: readonly Section[]): ElfSymbol[] {
  const table = sections.find(({name}) => name === '.symtab')
  const names = table && sections[table.link]
  if (!table || !names) return []
  return Array.from({length: Math.floor(table.size / 24)}, (_, index) => {
    const at = table.offset + index * 24
    return {name: textAt(file, names.offset + file.readUInt32LE(at)), section: file.readUInt16LE(at + 6), value: Number(file.readBigUInt64LE(at + 8))}
  })
}

function relocationsOf(file: Buffer, {offset, size}: Section, symbols: readonly ElfSymbol[]): Relocation[] {
  return Array.from({length: Math.floor(size / 24)}, (_, index) => {
    const at = offset + index * 24
    const symbol = symbols[file.readUInt32LE(at + 12)] ?? {name: '', section: 0, value: 0}
    return {offset: Number(file.readBigUInt64LE(at)), type: file.readUInt32LE(at + 8), symbol, addend: Number(file.readBigInt64LE(at + 16))}
  })
}

/**
 * What a livepatch replaces: the compiler leaves no types, but a struct klp_func is
 * a pointer to a name, followed by one to code; and a struct klp_patch one to the
 * module itself, followed by one to its objects (include/linux/livepatch.h).
 */
function klpOf(file: Buffer, sections: readonly Section[], symbols: readonly ElfSymbol[]): Pick<ModuleFacts, 'functions' | 'replace'> {
  const functions: KlpFunction[] = []
  let replace = false
  for (const section of sections.filter(({type}) => type === SHT.RELA)) {
    const data = sections[section.info]
    if (!data || !/^\.(data|init\.data|init\.klp_|ro_after_init|data\.\S*)/.test(data.name) || data.type === SHT.NOBITS) continue
    const pointers = new Map(relocationsOf(file, section, symbols).filter(({type}) => type === R_X86_64_64).map((one) => [one.offset, one]))
    for (const [offset, first] of pointers) {
      const second = pointers.get(offset + 8)
      if (second === undefined) continue
      const into = nameOf(sections, second)
      const text = stringAt(file, sections, first)
      if (first.symbol.name === '__this_module' && /^\.(data|bss)/.test(into)) replace ||= file[data.offset + offset + 24] === 1
      if (text !== undefined && into.startsWith('.text')) functions.push({name: text, position: Number(file.readBigUInt64LE(data.offset + offset + 16))})
    }
  }
  return {functions, replace}
}

function nameOf(sections: readonly Section[], {symbol}: Relocation): string {
  return sections[symbol.section]?.name ?? ''
}

/** The name of a function that a pointer leads to; undefined where it leads to something else. */
function stringAt(file: Buffer, sections: readonly Section[], {symbol, addend}: Relocation): string | undefined {
  const section = sections[symbol.section]
  if (!section?.name.startsWith('.rodata')) return undefined
  const text = textAt(file, section.offset + symbol.value + addend)
  return /^[A-Za-z_][\w.]*$/.test(text) ? text : undefined
}
