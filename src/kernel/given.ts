import {open, readFile, stat} from 'node:fs/promises'
import {basename, join} from 'node:path'
import {InputError} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {type Kernel, lineOf} from './kernel.js'

export type GivenKernel = {vmlinuz: string; modules: string; headers?: string | undefined}

/**
 * A kernel that is at hand: an image, its folder under lib/modules and, for
 * livepatches, the folder that its modules are built in.
 *
 * @throws InputError when a file is missing or they do not belong together
 */
export async function givenKernel(given: GivenKernel): Promise<Kernel> {
  await mustExist(given.vmlinuz, '--kernel')
  if (!(await stat(given.vmlinuz)).isFile()) throw new InputError(`--kernel: ${given.vmlinuz} is no file`)
  await mustExist(join(given.modules, 'modules.dep'), '--modules', `run depmod, or name the folder lib/modules/RELEASE itself`)
  const release = await imageRelease(given.vmlinuz)
  if (basename(given.modules) !== release) {
    throw new InputError(`--modules ${given.modules} does not belong to ${given.vmlinuz}: the image is ${release}`)
  }
  if (given.headers) await checkHeaders(given.headers, release)
  const origin = {
    [basename(given.vmlinuz)]: `sha256:${await sha256File(given.vmlinuz)}`,
    'modules.dep': `sha256:${await sha256File(join(given.modules, 'modules.dep'))}`,
    ...(given.headers ? {'Module.symvers': `sha256:${await sha256File(join(given.headers, 'Module.symvers'))}`} : {}),
  }
  return {
    label: release,
    line: lineOf(release),
    release,
    key: keyOf({release, origin}),
    origin,
    image: async () => ({vmlinuz: given.vmlinuz, modules: given.modules}),
    headers: async () => {
      if (!given.headers) throw new InputError(`livepatches for ${release} need its headers: add --headers <build folder>`)
      return {build: given.headers, prefix: given.headers}
    },
  }
}

async function mustExist(path: string, option: string, hint = ''): Promise<void> {
  if (await stat(path).catch(() => undefined)) return
  throw new InputError(`${option}: ${path} does not exist${hint ? `: ${hint}` : ''}`)
}

async function imageRelease(vmlinuz: string): Promise<string> {
  const release = /^[\x21-\x7e]+/.exec((await imageVersion(vmlinuz)) ?? '')?.[0]
  if (release) return release
  throw new InputError(`--kernel: ${vmlinuz} is no bootable x86 kernel image (a bzImage, as in /boot/vmlinuz-*)`)
}

/**
 * The release, builder and `uname -v` in an x86 image's header
 * (Documentation/arch/x86/boot.rst, kernel_version); undefined where it is no such image.
 */
export async function imageVersion(vmlinuz: string): Promise<string | undefined> {
  const file = await open(vmlinuz)
  try {
    const header = Buffer.alloc(0x8000)
    await file.read(header, 0, header.length, 0)
    const offset = header.readUInt16LE(0x20e) + 0x200
    return header.toString('latin1', 0x202, 0x206) === 'HdrS' ? /^[\x20-\x7e]*/.exec(header.toString('latin1', offset, offset + 512))?.[0] : undefined
  } finally {
    await file.close()
  }
}

async function checkHeaders(headers: string, release: string): Promise<void> {
  await mustExist(join(headers, 'Module.symvers'), '--headers', 'name the folder of a configured kernel build or headers package')
  const text = await readFile(join(headers, 'include/generated/utsrelease.h'), 'utf8').catch(() => '')
  const built = /UTS_RELEASE "([^"]+)"/.exec(text)?.[1]
  if (built !== release) {
    throw new InputError(`--headers ${headers} is for ${built ?? 'no known kernel'} and the image is ${release}: modules would have the wrong vermagic`)
  }
}
