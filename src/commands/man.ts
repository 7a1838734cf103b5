import {EXIT} from '../lib/errors.js'
import {allOf, type Definition} from './definition.js'

const STATUS: Record<keyof typeof EXIT, string> = {
  ok: 'every verdict is the expected one, and what was asked for was done',
  missed: 'a verdict is not the expected one, a series does not apply, or two runs differ',
  input: 'bad usage or input',
  couldNotRun: 'something could not run: no boot, a hang, no build, no disk',
  interrupted: 'interrupted',
}

const ENVIRONMENT: [string, string][] = [
  ['PATCHBENCH_CACHE', 'where everything that was downloaded or built is kept; default ~/.cache/patchbench'],
  ['XDG_STATE_HOME', 'runs are kept in patchbench/runs below it; default ~/.local/state'],
  ['NO_COLOR', 'no colour in tables'],
]

/** `patchbench man`: the manual page in man(7), made of the program's own definition. */
export function manPage(program: Definition, version: string): string {
  const commands = allOf(program).filter(({path, commands: below}) => path.length > 0 && below.length === 0)
  return [
    `.TH PATCHBENCH 1 "" "patchbench ${version}" "User Commands"`,
    '.SH NAME',
    `patchbench \\- ${plain(program.description.replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    '.B patchbench',
    '.I command',
    '.RI [ options ]',
    '.SH COMMANDS',
    ...commands.flatMap(section),
    '.SH EXIT STATUS',
    ...(Object.keys(EXIT) as (keyof typeof EXIT)[]).flatMap((name) => term(String(EXIT[name]), STATUS[name])),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, words]) => term(name, words)),
    '.SH SEE ALSO',
    'README.md and docs/ of patchbench.',
  ].join('\n')
}

function section({path, usage, description, options}: Definition): string[] {
  return ['.SS', `patchbench ${path.join(' ')} ${plain(usage)}`, plain(description), ...options.flatMap(({flag, value, description: words, choices}) => term([flag, value].filter(Boolean).join(' '), choices.length > 0 ? `${words}: ${choices.join(', ')}` : words))]
}

function term(name: string, words: string): string[] {
  return ['.TP', `.B ${plain(name)}`, plain(words)]
}

/** A text in roff: no escape, no request, and hyphens that can be copied. */
function plain(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./, '\\&.')
}
