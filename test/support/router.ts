import {copyToHost, removeFolder} from '../../src/host/copy.js'
import {type Host, onHost} from '../../src/host/ssh.js'
import {projectPath} from '../../src/lib/project.js'
import {TEMPLATE} from '../../src/router/guard.js'
import {context} from './machine.js'

const FILES = ['fw4', 'ruleset.uc', 'setup.sh']

/** Makes a test host a router with a firewall4-shaped ruleset and a flow that is offloaded (test/support/router). */
export async function becomeRouter(host: Host): Promise<void> {
  const folder = await copyToHost(context, host, Object.fromEntries(FILES.map((name) => [name, projectPath('test/support/router', name)])))
  await onHost(context, host, ['sh', `${folder}/setup.sh`, folder], {deadline: 600_000})
  await removeFolder(context, host, folder)
}

/** What a change of the guard could touch: the templates, the loaded rules, and what lies about. */
export type RouterState = {templates: string; rules: string; around: string; template: string}

export async function stateOf(host: Host): Promise<RouterState> {
  const out = async (script: string) => (await onHost(context, host, ['sh', '-c', script])).stdout.toString('utf8')
  return {
    templates: await out('cd /usr/share/firewall4/templates && ls -l | awk "{print \\$1, \\$3, \\$9}" && sha256sum *'),
    // Packets are counted all the time.
    rules: await out('nft -s list ruleset'),
    around: await out('ls /tmp /var/lock /etc/config | grep -v ^fw4-'),
    template: await out(`cat ${TEMPLATE}`),
  }
}

/** What is to go wrong in the router's fw4 from now on; undefined for nothing. */
export async function trouble(host: Host, what: string | undefined): Promise<void> {
  await onHost(context, host, ['sh', '-c', what === undefined ? 'rm -f /tmp/fw4-trouble' : `rm -f /tmp/fw4-steps; echo ${what} >/tmp/fw4-trouble`])
}

/** Which steps its fw4 has taken since trouble() was told something. */
export async function steps(host: Host): Promise<string[]> {
  const {stdout} = await onHost(context, host, ['cat', '/tmp/fw4-steps'], {allowedExits: [0, 1]})
  return stdout.toString('utf8').split('\n').filter(Boolean)
}

