import {type Finished, run, type RunOptions} from './process.js'

/** What a hook or an alias of the user's sets for its own git, and would point ours at another repository. */
const LOCAL = [
  ...['GIT_DIR', 'GIT_WORK_TREE', 'GIT_COMMON_DIR', 'GIT_INDEX_FILE', 'GIT_OBJECT_DIRECTORY', 'GIT_ALTERNATE_OBJECT_DIRECTORIES'],
  ...['GIT_PREFIX', 'GIT_IMPLICIT_WORK_TREE', 'GIT_NAMESPACE', 'GIT_SHALLOW_FILE', 'GIT_GRAFT_FILE', 'GIT_REPLACE_REF_BASE'],
  ...['GIT_CONFIG', 'GIT_CONFIG_PARAMETERS', 'GIT_CONFIG_COUNT', 'GIT_NO_REPLACE_OBJECTS', 'GIT_INTERNAL_SUPER_PREFIX'],
  ...['GIT_LITERAL_PATHSPECS', 'GIT_GLOB_PATHSPECS', 'GIT_NOGLOB_PATHSPECS', 'GIT_ICASE_PATHSPECS'],
  ...['GIT_TRACE', 'GIT_TRACE2', 'GIT_TRACE2_EVENT', 'GIT_TRACE2_PERF', 'GIT_TRACE_SETUP', 'GIT_TRACE_PERFORMANCE'],
]

/** Programs of the user's that git would start, and what it would do to the repository on the side. */
const QUIET = ['core.hooksPath=/dev/null', 'core.fsmonitor=false', 'gc.auto=0', 'maintenance.auto=false', 'submodule.recurse=false']

/**
 * Runs git in a folder, without hooks, without garbage collection and without
 * locking the index of a repository that it only looks at.
 *
 * @param settings more `-c name=value`
 */
export async function git(folder: string, args: readonly string[], options: RunOptions, settings: readonly string[] = []): Promise<Finished> {
  const present = LOCAL.filter((name) => name in process.env)
  const config = [...QUIET, ...settings].flatMap((setting) => ['-c', setting])
  const words = ['--no-optional-locks', '--literal-pathspecs', ...config, ...args]
  const own: RunOptions = {...options, cwd: folder, env: {GIT_TERMINAL_PROMPT: '0', GIT_EDITOR: 'true', ...options.env}}
  if (present.length === 0) return await run('git', words, own)
  return await run('env', [...present.flatMap((name) => ['-u', name]), 'git', ...words], own)
}
