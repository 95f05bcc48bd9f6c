/** Completion for zsh, by its own _arguments. What a verb takes and isn't offered is known all the same (`!`). */
import { type OptionFacts, offeredAt, type Tree, type Values, type VerbFacts } from './tree.ts'

export function zshCompletion(tree: Tree): string {
  const { program, verbs, options, config, settings } = tree
  const all = [config, ...settings.values()]
  return `#compdef ${program}
# ${program} in zsh; made by "npm run build" from the verbs and settings of the program.

_${program}() {
  local curcontext=$curcontext state state_descr line
  typeset -A opt_args
  local -a verbs settings
  verbs=(
${verbs.map((verb) => `    ${quoted(`${verb.name}:${verb.about}`)}`).join('\n')}
  )
  settings=(
${all
  .flatMap((option) => specs(option))
  .map(indented)
  .join('\n')}
  )
  _arguments -C : \\
${options.flatMap((option) => specs(option, '- *').map((spec) => `    ${spec} \\`)).join('\n')}
    ':verb:->verb' '*::argument:->rest' && return 0
  case $state in
    verb) _describe -t verbs verb verbs ;;
    rest)
      curcontext=\${curcontext%:*:*}:${program}-$words[1]:
      case $words[1] in
${verbs.map((verb) => `        ${verb.name}) _arguments : \\\n${lines(verb)} ;;`).join('\n')}
      esac
      ;;
  esac
}

_${program} "$@"
`

  function lines(verb: VerbFacts): string {
    const isFull = verb.settings.length === settings.size
    const own = (isFull ? verb.options : offeredAt(verb, tree)).flatMap((option) => specs(option))
    const rest = verb.settings.length === 0 ? [] : [isFull ? '$settings' : "'!'$^settings"]
    return [...own, ...argumentSpecs(verb), ...rest].map((spec) => `          ${spec}`).join(' \\\n')
  }
}

const indented = (text: string) => `    ${text}`

/** One for each name that the option has; `not`: what isn't offered after it. */
function specs({ names, about, values }: OptionFacts, not = names.length > 1 ? names.join(' ') : ''): string[] {
  const others = not === '' ? '' : `(${not})`
  return names.map((name) => {
    const value = values && `:${escaped(values.name)}:${action(values)}`
    const isSpaced = !value || !name.startsWith('--') // else also `--name=value`
    return quoted(`${others}${name}${isSpaced ? '' : '='}[${escaped(about)}]${value ?? ''}`)
  })
}

function argumentSpecs(verb: VerbFacts): string[] {
  return verb.arguments.map(({ values, isMany }) =>
    quoted(`${isMany ? '*' : ''}:${escaped(values.name)}:${action(values)}`),
  )
}

function action(values: Values): string {
  switch (values.kind) {
    case 'words':
      return `(${values.words.join(' ')})`
    case 'file':
      return '_files'
    case 'folder':
      return '_files -/'
    case 'text':
      return ' '
  }
}

function escaped(text: string): string {
  return text.replace(/[\\[\]:]/g, '\\$&')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
