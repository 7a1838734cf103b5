// The two ways in which patchbench fails on purpose. Anything else is a bug of
// ours and is shown as one.

/** Bad usage or input: one sentence that says what, where and what to do. Exit 2. */
export class InputError extends Error {
  override name = 'InputError'
}

/** The machinery failed (no boot, no build, no disk): never mixed up with a test result. Exit 69. */
export class CouldNotRun extends Error {
  override name = 'CouldNotRun'
  /** Lines that show why: a compiler's error, the last of a console. */
  readonly detail: string

  constructor(message: string, detail = '') {
    super(message)
    this.detail = detail
  }
}

/** The user asked to stop. Exit 130. */
export class Interrupted extends Error {
  override name = 'Interrupted'

  constructor() {
    super('interrupted')
  }
}

/** Exit codes: an API, see docs/exit-codes in README and sysexits.h (EX_UNAVAILABLE is 69). */
export const EXIT = { ok: 0, missed: 1, input: 2, couldNotRun: 69, interrupted: 130 } as const

/** The code of a failed system call (ENOENT, ENOSPC ...), if the error is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

const SYSTEM_REASONS: Record<string, string> = {
  EACCES: 'permission denied',
  EEXIST: 'there is something else of that name',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a loop of links',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of the path is no folder',
  EPERM: 'that is not permitted there',
  EROFS: 'the file system is read-only',
}

/** A failed system call on a path as a sentence for the user; undefined when the error is none. */
export function describeSystemError(error: unknown): string | undefined {
  const reason = SYSTEM_REASONS[systemCode(error) ?? '']
  if (!reason || !(error instanceof Error)) return undefined
  const {syscall, path} = error as NodeJS.ErrnoException
  if (syscall === 'uv_cwd') return 'the current folder is gone: change to one that is there'
  return `${path ?? 'a file'} cannot be used (${syscall}): ${reason}`
}
