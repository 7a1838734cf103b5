import {allOf, type Definition} from './definition.js'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** `patchbench completion SHELL`: a script for the shell, made of the program's own definition. */
export function completionScript(program: Definition, shell: (typeof SHELLS)[number]): string {
  return {bash, zsh, fish}[shell](program)
}

/** What a value or an argument is: a word of a list, a folder, a file, or the name of a case or of a run. */
type Kind = {words: string[]} | 'folder' | 'file' | 'case' | 'run' | 'nothing'

function kindOf(name: string, choices: readonly string[]): Kind {
  if (choices.length > 0) return {words: [...choices]}
  if (/folder/.test(name)) return 'folder'
  if (/\bcase\b/.test(name)) return 'case'
  if (/\brun\b/.test(name)) return 'run'
  return /file|tar|archive|vmlinuz|url|where|series|mbox/.test(name) ? 'file' : 'nothing'
}

const argumentKind = ({arguments: [first]}: Definition): Kind => (first ? kindOf(first.name, first.choices) : 'nothing')

const key = ({path}: Definition): string => path.map((word) => ` ${word}`).join('')

/** Options with a value, as a shell's patterns of `PATH OPTION`, and what the value is. */
function valuesOf(program: Definition): [string, Kind][] {
  return allOf(program).flatMap((command) => command.options.filter(({value}) => value !== '').map(({flag, value, choices}): [string, Kind] => [`${key(command)} ${flag}`, kindOf(value, choices)]))
}

/** Names come from folders of the user's or of a stranger's: none that a shell would take for more is offered. */
const PLAIN = '[a-z0-9][a-z0-9-]*'
const CASES = `cases 2>/dev/null | sed -n '1d; s/^\\(${PLAIN}\\) .*/\\1/p'`
const RUN_NAMES = `2>/dev/null | grep -x '${PLAIN}'`
const RUNS = `ls "\${XDG_STATE_HOME:-$HOME/.local/state}/patchbench/runs" ${RUN_NAMES}`

function bash(program: Definition): string {
  const reply: Record<string, string> = {folder: 'compgen -d -- "$current"', file: 'compgen -f -- "$current"', nothing: ':'}
  const names = {case: `$("\${COMP_WORDS[0]}" ${CASES})`, run: `$(${RUNS}) $(compgen -d -- "$current")`}
  const give = (kind: Kind): string => {
    if (typeof kind !== 'string') return `mapfile -t COMPREPLY < <(compgen -W '${kind.words.join(' ')}' -- "$current")`
    return kind === 'case' || kind === 'run' ? `_patchbench_names "$current" ${names[kind]}` : `mapfile -t COMPREPLY < <(${reply[kind]})`
  }
  const lines = [
    '# bash completion of patchbench: source <(patchbench completion bash)',
    '_patchbench_names() {',
    '  local start=$1 name; shift',
    '  for name; do [[ $name == "$start"* ]] && COMPREPLY+=("$name"); done',
    '}',
    '_patchbench() {',
    '  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} at="" word',
    '  COMPREPLY=()',
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    ...pathLines(program, '    '),
    '  done',
    '  case "$at $previous" in',
    ...valuesOf(program).map(([pattern, kind]) => `    '${pattern}') ${give(kind)}; return ;;`),
    '  esac',
    '  if [[ $current == -* ]]; then',
    '    case "$at" in',
    ...allOf(program).map((command) => `      '${key(command)}') ${give({words: command.options.map(({flag}) => flag)})} ;;`),
    '    esac',
    '    return',
    '  fi',
    '  case "$at" in',
    ...allOf(program).map((command) => `    '${key(command)}') ${give(command.commands.length > 0 ? {words: command.commands.map(({path}) => path.at(-1)!)} : argumentKind(command))} ;;`),
    '  esac',
    '}',
    'complete -o filenames -F _patchbench patchbench',
  ]
  return lines.join('\n')
}

/** The part that bash and zsh share: which command the words before lead to. */
function pathLines(program: Definition, indent: string): string[] {
  const paths = allOf(program).slice(1).map((command) => `' ${command.path.join(' ')}'`)
  return [`${indent}case "$at $word" in`, `${indent}  ${paths.join('|')}) at="$at $word" ;;`, `${indent}esac`]
}

function zsh(program: Definition): string {
  const give = (kind: Kind): string => {
    if (typeof kind !== 'string') return `compadd -- ${kind.words.join(' ')}`
    const ways = {folder: '_files -/', file: '_files', case: `compadd -- $("$words[1]" ${CASES})`, run: `compadd -- $(${RUNS}); _files -/`, nothing: ':'}
    return ways[kind]
  }
  const described = (name: string, rows: readonly [string, string][]) => `found=(${rows.map(([word, words]) => quoted(`${word}:${words.replaceAll(':', '\\:')}`)).join(' ')}); _describe ${name} found`
  const lines = [
    '#compdef patchbench',
    '# zsh completion of patchbench: source <(patchbench completion zsh), or a file _patchbench in $fpath',
    '_patchbench() {',
    '  local at="" word previous=$words[CURRENT-1]',
    '  local -a found',
    '  for word in ${words[2,CURRENT-1]}; do',
    ...pathLines(program, '    '),
    '  done',
    '  case "$at $previous" in',
    ...valuesOf(program).map(([pattern, kind]) => `    '${pattern}') ${give(kind)}; return ;;`),
    '  esac',
    '  if [[ $words[CURRENT] == -* ]]; then',
    '    case "$at" in',
    ...allOf(program).map((command) => `      '${key(command)}') ${described('option', command.options.map(({flag, description}) => [flag, description]))} ;;`),
    '    esac',
    '    return',
    '  fi',
    '  case "$at" in',
    ...allOf(program).map((command) => `    '${key(command)}') ${command.commands.length > 0 ? described('command', command.commands.map(({path, description}) => [path.at(-1)!, description])) : give(argumentKind(command))} ;;`),
    '  esac',
    '}',
    'if [[ $funcstack[1] == _patchbench ]]; then _patchbench "$@"; else compdef _patchbench patchbench; fi',
  ]
  return lines.join('\n')
}

function fish(program: Definition): string {
  const give = (kind: Kind): string => {
    if (typeof kind !== 'string') return `-xa ${quoted(kind.words.join(' '), true)}`
    const ways = {folder: `-xa '(__fish_complete_directories)'`, file: '-rF', case: `-xa '(__patchbench_cases)'`, run: `-xa '(__patchbench_runs; __fish_complete_directories)'`, nothing: '-x'}
    return ways[kind]
  }
  const at = ({path, commands}: Definition) => {
    if (path.length === 0) return '__fish_use_subcommand'
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`)
    const below = commands.map(({path: words}) => words.at(-1)!)
    return [...seen, ...(below.length > 0 ? [`not __fish_seen_subcommand_from ${below.join(' ')}`] : [])].join('; and ')
  }
  const lines = allOf(program).flatMap((command) => {
    const condition = `complete -c patchbench -n ${quoted(at(command), true)}`
    const kind = argumentKind(command)
    return [
      ...command.commands.map(({path, description}) => `${condition} -a ${path.at(-1)!} -d ${quoted(description, true)}`),
      ...command.options.map(({flag, value, choices, description}) => `${condition} -l ${flag.replace(/^--/, '')}${value === '' ? '' : ` ${give(kindOf(value, choices))}`} -d ${quoted(description, true)}`),
      ...(command.commands.length > 0 || kind === 'nothing' ? [] : [`${condition} ${give(kind).replace(/^-xa/, '-a').replace(/^-rF/, '-F')}`]),
    ]
  })
  return [
    '# fish completion of patchbench: patchbench completion fish | source',
    `function __patchbench_cases; patchbench ${CASES}; end`,
    `function __patchbench_runs; set -q XDG_STATE_HOME; and set -l state $XDG_STATE_HOME; or set -l state ~/.local/state; ls $state/patchbench/runs ${RUN_NAMES}; end`,
    'complete -c patchbench -f',
    ...lines,
  ].join('\n')
}

/** Between single quotes, in which fish, and no other shell, knows a backslash. */
function quoted(text: string, isFish = false): string {
  const words = text.replaceAll("'", '\u2019')
  return `'${isFish ? words.replaceAll('\\', '\\\\') : words}'`
}
