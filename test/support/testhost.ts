import {packagedKernel} from '../../src/kernel/packaged.js'
import {startTestHost, type TestHost, type TestHostOptions} from '../../src/machine/testhost.js'
import {context} from './machine.js'

/** A test host with the stock kernel, for a file of tests; stop() it in afterAll. */
export async function bootTestHost(options: Partial<TestHostOptions> = {}): Promise<TestHost> {
  return await startTestHost(context, {kernel: await packagedKernel(context, '6.12'), accelerator: 'tcg', ...options})
}
