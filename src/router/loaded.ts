import {readFile} from 'node:fs/promises'
import {type Host, scriptOnHost} from '../host/ssh.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {guarded, PLAIN} from './guard.js'

/** $1 is the template's statement, $2 the one of the other kind. Nothing is written there. */
const LOOK = `if pid=$(holder); then echo "busy $pid"; exit; fi
nft list table inet fw4 >/dev/null 2>&1 || exit 0
rendered=$(fw4 print) || { echo unrendered; exit; }
case $rendered in *"$1"*) ;; *) exit 0 ;; esac
! same_kind "$1" || exit 0
if same_kind "$2"; then echo behind; else echo other; fi`

/**
 * Whether a router's loaded ruleset is behind its template: it has the flow
 * statement of the other kind, as after a run that was cut off before it
 * reloaded. Where no firewall is running, or it offloads nothing, it is not.
 *
 * @param statement what the template has
 * @throws CouldNotRun when a run is at work there, or the ruleset is neither
 */
export async function isBehind(context: Context, host: Host, statement: string): Promise<boolean> {
  const other = statement === PLAIN ? guarded(0xffffffff) : PLAIN
  const script = `${await readFile(projectPath('src/router/loaded.sh'), 'utf8')}\n${LOOK}`
  const {stdout} = await scriptOnHost(context, host, script, [statement, other])
  const [state = '', pid = ''] = stdout.toString('utf8').trim().split(' ')
  if (state === 'busy') throw new CouldNotRun(`another run is at work on ${host.name}: process ${Number(pid)} there; look again when it is done`)
  if (state === 'unrendered') throw new CouldNotRun(`${host.name}: fw4 print failed, so what is loaded could not be compared with it`)
  if (state === 'other') {
    throw new CouldNotRun(`${host.name}: the loaded ruleset is not the one that fw4 renders: look at it, and reload the firewall there (fw4 reload)`)
  }
  return state === 'behind'
}
