import {execa} from 'execa'
import {chmod, mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, it} from 'vitest'
import {checkOutput} from '../../src/router/collect.js'
import {ITEMS} from '../../src/router/items.js'
import {collectCommand} from '../../src/commands/router.js'
import {type Context} from '../../src/lib/context.js'
import {scratch} from '../support/scratch.js'

const context: Context = {signal: new AbortController().signal, cache: '/nonexistent', progress: () => {}}

it('an archive that cannot be written is refused by the name that the user wrote, before there is a connection', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'there.tgz'), '')
  // Its ssh_config would be refused next.
  const options = {host: 'nowhere', capture: 0, sshConfig: join(folder, 'none')}
  const refusals = [
    ['there.tgz', 'is there already: name another file with --output'],
    ['nope/x.tgz', `cannot be written: there is no folder ${join(folder, 'nope')}`],
    ['there.tgz/x.tgz', `cannot be written: there is no folder ${join(folder, 'there.tgz')}`],
  ] as const
  for (const [name, why] of refusals) {
    const output = join(folder, name)
    await expect(collectCommand(context, {...options, output})).rejects.toMatchObject({name: 'InputError', message: `${output} ${why}`})
  }
  await expect(checkOutput(join(folder, 'x.tgz'))).resolves.toBeUndefined()
})

it('an ssh_config that is not there is bad input', async () => {
  const folder = await scratch()
  const options = {host: 'nowhere', capture: 0, output: join(folder, 'x.tgz')}
  await expect(collectCommand(context, {...options, sshConfig: join(folder, 'none')})).rejects.toMatchObject({
    name: 'InputError',
    message: `--ssh-config ${join(folder, 'none')} cannot be read: there is no such file`,
  })
  await mkdir(join(folder, 'config'))
  await expect(collectCommand(context, {...options, sshConfig: join(folder, 'config')})).rejects.toThrow(/cannot be read: it is a folder/)
})

it.each(['firewall4/rendered.txt', 'firewall4/check.txt'])('%s is nothing on a host without fw4', async (name) => {
  const {script} = ITEMS.find(({file}) => file === name)!
  const bin = await scratch()
  const run = async () => await execa('/bin/sh', ['-c', script], {env: {PATH: bin}, extendEnv: false, reject: false})
  expect(await run()).toMatchObject({stdout: '', exitCode: 127})
  await writeFile(join(bin, 'fw4'), '#!/bin/sh\necho "$1 it is"\n')
  await chmod(join(bin, 'fw4'), 0o755)
  expect(await run()).toMatchObject({stdout: expect.stringContaining('it is') as string, exitCode: 0})
})
