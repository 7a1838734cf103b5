import {type Command} from 'commander'

/** The program as its own help knows it, as plain data: what completion and the man page are made of. */
export type Definition = {
  /** The words that lead to the command, without the program's own name. */
  path: string[]
  description: string
  /** `[options] [case...]` */
  usage: string
  options: {flag: string; /** `<folder>`, empty where it takes none. */ value: string; description: string; choices: string[]}[]
  arguments: {name: string; choices: string[]}[]
  commands: Definition[]
}

/** Reads commander's definition of a command and of those below it. */
export function definitionOf(command: Command, path: string[] = []): Definition {
  const help = command.createHelp()
  return {
    path,
    description: command.description(),
    usage: command.usage(),
    options: help.visibleOptions(command).map(({long, short, flags, description, argChoices}) => ({
      flag: long ?? short ?? flags,
      value: /[<[].*[>\]]/.exec(flags)?.[0] ?? '',
      description,
      choices: argChoices ?? [],
    })),
    arguments: command.registeredArguments.map((one) => ({name: one.name(), choices: one.argChoices ?? []})),
    commands: command.commands.map((one) => definitionOf(one, [...path, one.name()])),
  }
}

/** A definition and all below it, the outermost first. */
export function allOf(definition: Definition): Definition[] {
  return [definition, ...definition.commands.flatMap(allOf)]
}
