import {expect} from 'vitest'
import {InputError} from '../../src/lib/errors.js'

/** The sentence with which bad input is refused. */
export async function complaint(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(InputError)
  return (error as Error).message
}
