/** Completion for fish (3.1 or newer). */
import { type OptionFacts, offeredAt, type Tree, type Values, type VerbFacts } from './tree.ts'

export function fishCompletion(tree: Tree): string {
  const { program, verbs, options } = tree
  const line = (condition: string, rest: string) => `complete -c ${program} -n '${condition}' ${rest}`
  return `# ${program} in fish; made by "npm run build" from the verbs and settings of the program.

# The verb is VERB; without one: there is none yet.
function __fidelity_tracker_verb
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"
end

complete -c ${program} -f
${options.map((option) => line('__fidelity_tracker_verb', optionWords(option))).join('\n')}
${verbs.map((verb) => line('__fidelity_tracker_verb', `-a ${verb.name} -d ${quoted(verb.about)}`)).join('\n')}
${verbs
  .flatMap((verb) => [
    '',
    ...verb.arguments.flatMap(({ values }) => argumentLines(verb, values, line)),
    ...offeredAt(verb, tree).map((option) => line(`__fidelity_tracker_verb ${verb.name}`, optionWords(option))),
  ])
  .join('\n')}
`
}

/** Words are offered until one of them is given. */
function argumentLines(verb: VerbFacts, values: Values, line: (condition: string, rest: string) => string): string[] {
  const condition = `__fidelity_tracker_verb ${verb.name}`
  if (values.kind === 'text') return []
  if (values.kind !== 'words') return [line(condition, taken(values))]
  const words = values.words.join(' ')
  const isOpen = verb.name === 'help' ? condition : `${condition}; and not __fish_seen_subcommand_from ${words}`
  return [line(isOpen, `-a '${words}' -d ${quoted(values.name)}`)]
}

function optionWords({ names, about, values }: OptionFacts): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  return [...flags, ...(values ? [`-r ${taken(values)}`] : []), '-d', quoted(about)].join(' ')
}

function taken(values: Values): string {
  switch (values.kind) {
    case 'words':
      return `-f -a '${values.words.join(' ')}'`
    case 'file':
      return '-F'
    case 'folder':
      return "-f -a '(__fish_complete_directories)'"
    case 'text':
      return '-f'
  }
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
