import {bubblewrap} from '../../src/lib/confine.js'
import {CouldNotRun} from '../../src/lib/errors.js'

/** Why bubblewrap makes no sandbox on this machine; empty where it does. Tests that need one are skipped with it in their name. */
export const NO_SANDBOX = await bubblewrap(new AbortController().signal).then(
  () => '',
  (error: unknown) => {
    if (error instanceof CouldNotRun) return `skipped: ${error.message} ${error.detail}`
    throw error
  },
)
