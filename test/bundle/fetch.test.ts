import {createServer, type RequestListener} from 'node:http'
import {type AddressInfo} from 'node:net'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {fetchBundle, isUrl} from '../../src/bundle/fetch.js'
import {LIMIT} from '../../src/bundle/manifest.js'
import {CouldNotRun} from '../../src/lib/errors.js'
import {complaint} from '../support/complaint.js'
import {contextIn, scratch} from '../support/scratch.js'

/** Fetches from a server that answers like this; the file's content. */
async function fetchFrom(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const file = join(await scratch(), 'fetched')
  try {
    await fetchBundle(contextIn('/nowhere'), `http://127.0.0.1:${(server.address() as AddressInfo).port}/one.tar.zst`, file)
    return await readFile(file, 'utf8')
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

describe('a bundle elsewhere', () => {
  it('is fetched', async () => {
    expect(await fetchFrom((_, response) => response.end('a bundle'))).toBe('a bundle')
  })

  it('is fetched where the server says that it is', async () => {
    expect(await fetchFrom((request, response) => (request.url === '/there' ? response.end('moved') : response.writeHead(302, {location: '/there'}).end()))).toBe('moved')
  })

  it('is refused when it is announced too large, before it comes', async () => {
    expect(await complaint(fetchFrom((_, response) => void response.writeHead(200, {'content-length': LIMIT.archive + 1}).write('x')))).toMatch(/announced with \d+ bytes/)
  })

  it('is left when it does not end', async () => {
    const chunk = Buffer.alloc(1 << 20)
    const flood: RequestListener = (_, response) => {
      const more = () => {
        while (response.write(chunk)) {}
        response.once('drain', more)
      }
      more()
    }
    expect(await complaint(fetchFrom(flood))).toMatch(/more than \d+ bytes/)
  })

  it('that is not there could not run', async () => {
    await expect(fetchFrom((_, response) => response.writeHead(404, 'Not Found').end())).rejects.toThrow(/the server says 404 Not Found/)
    await expect(fetchBundle(contextIn('/nowhere'), 'http://127.0.0.1:9/x', join(await scratch(), 'x'))).rejects.toThrow(CouldNotRun)
  })

  it('is fetched over HTTP and nothing else', async () => {
    for (const url of ['file:///etc/passwd', 'ftp://example.org/x', 'data:text/plain,x']) {
      if (isUrl(url)) expect(await complaint(fetchBundle(contextIn('/nowhere'), url, '/nowhere/x'))).toContain('no address that a bundle is fetched from')
    }
    expect([isUrl('https://example.org/x'), isUrl('one.tar.zst'), isUrl('./a:b'), isUrl('/x://y')]).toEqual([true, false, false, false])
  })
})
