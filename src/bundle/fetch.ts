import {createWriteStream} from 'node:fs'
import {Readable, Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError, systemCode} from '../lib/errors.js'
import {LIMIT, refused} from './manifest.js'

/** A server that says nothing for this long is given up, in ms. */
const PATIENCE = 60_000

/** Whether a bundle is somewhere else. */
export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
}

/**
 * Fetches a bundle over HTTP, as much of it as one may have.
 *
 * @throws CouldNotRun when the server does not give it
 */
export async function fetchBundle(context: Context, url: string, file: string): Promise<void> {
  if (!/^https?:\/\//i.test(url)) throw new InputError(`${url} is no address that a bundle is fetched from: it begins with https:// or http://`)
  context.progress(`fetching ${url}`)
  const stalled = new AbortController()
  const watch = setTimeout(() => stalled.abort(), PATIENCE)
  try {
    const response = await fetch(url, {signal: AbortSignal.any([context.signal, stalled.signal])})
    if (!response.ok || !response.body) throw new CouldNotRun(`${url} could not be fetched: the server says ${response.status} ${response.statusText}`)
    const announced = Number(response.headers.get('content-length') ?? 0)
    if (announced > LIMIT.archive) throw refused(`it is announced with ${announced} bytes, and ${LIMIT.archive} are the most`)
    let bytes = 0
    const limited = new Transform({
      transform(chunk: Buffer, _, done) {
        watch.refresh()
        bytes += chunk.length
        if (bytes > LIMIT.archive) return done(refused(`it has more than ${LIMIT.archive} bytes`))
        done(null, chunk)
      },
    })
    await pipeline(Readable.fromWeb(response.body as import('node:stream/web').ReadableStream), limited, createWriteStream(file, {flags: 'wx'}))
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof InputError || error instanceof CouldNotRun || systemCode(error) === 'ENOSPC') throw error
    if (stalled.signal.aborted) throw new CouldNotRun(`${url} could not be fetched: the server said nothing for ${PATIENCE / 1000} s`)
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw new CouldNotRun(`${url} could not be fetched: ${cause}`)
  } finally {
    clearTimeout(watch)
  }
}
