import {type Context} from '../lib/context.js'

/** Something that boots, wherever it came from. Its files are fetched when they are first needed. */
export type Kernel = {
  /** As shown to users: `debian 6.12.117`. */
  label: string
  /** The line it belongs to: `6.12`. */
  line: string
  /** uname -r, which is also the name of its folder under lib/modules. */
  release: string
  /** Hash over everything that makes this kernel what it is. */
  key: string
  /** What it was taken from, for reports: package names with versions, or file names with checksums. */
  origin: Record<string, string>
  /** Where the image and modules are. */
  image: (context: Context) => Promise<KernelImage>
  /** Where an out-of-tree module is built (the O= folder of a kernel build). */
  headers: (context: Context) => Promise<KernelHeaders>
  /** That there is none to boot: of a kernel that only a host has. */
  imageless?: true
}

export type KernelImage = {
  vmlinuz: string
  /** The folder that holds kernel/, modules.builtin and modules.order. */
  modules: string
  /** The kernel's .config, where it is known. */
  config?: string
  /** What a reader of a verdict on it has to know. */
  notes?: string[]
}

export type KernelHeaders = {
  build: string
  /** Rewritten to `.` in what the compiler writes. */
  prefix: string
  /** Folders that the compiler has to look in first. */
  before?: string[]
}

/** `6.12` of `6.12.117+deb12-amd64`. */
export function lineOf(release: string): string {
  return release.split('.').slice(0, 2).join('.').replace(/[^\d.].*$/, '')
}
