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
