/**
 * Completion for bash, which needs nothing but bash itself (4.3 or newer). Words are taken from the line as typed: bash's own
 * list cuts `host:port` and `--format=json` apart.
 */
import { type OptionFacts, offeredAt, type Tree, type Values, type VerbFacts } from './tree.ts'

export function bashCompletion(tree: Tree): string {
  const { program, verbs, options, config, settings } = tree
  const everywhere = [config, ...settings.values()]
  const valued = [...verbs.flatMap((verb) => patterns(verb.options, verb.name)), ...patterns(everywhere)]
  const optionCases = verbs.map((verb) => {
    const isFull = verb.settings.length === settings.size
    return `    ${verb.name}) echo "${names(isFull ? verb.options : offeredAt(verb, tree))}${isFull ? ' $settings' : ''}" ;;`
  })
  return `# ${program} in bash; made by "npm run build" from the verbs and settings of the program.

# VERB: its options; without one those of the program.
_fidelity_tracker_options() {
  local settings='${names(everywhere)}'
  case $1 in
    '') echo '${names(options)}' ;;
${optionCases.join('\n')}
  esac
}

# VERB OPTION: what follows it, in words or as @file, @folder, @text. Fails for a switch.
_fidelity_tracker_values() {
  case "$1 $2" in
${[...Map.groupBy(valued, ({ told }) => told)].map(([told, cases]) => `    ${cases.map(({ pattern }) => pattern).join(' | ')}) echo '${told}' ;;`).join('\n')}
    *) return 1 ;;
  esac
}

# VERB N: its argument number N.
_fidelity_tracker_arguments() {
  case "$1 $2" in
${verbs.flatMap(argumentCases).join('\n')}
  esac
}

_fidelity_tracker() {
  local line=\${COMP_LINE:0:COMP_POINT} words word verb='' option='' values='' at=1 i
  read -ra words <<<"$line"
  if [[ $line == *[[:space:]] ]]; then words+=(''); fi
  word=\${words[-1]}
  for ((i = 1; i < \${#words[@]} - 1; i++)); do
    if [[ $option ]]; then option=''
    elif [[ \${words[i]} == -* ]]; then
      if _fidelity_tracker_values "$verb" "\${words[i]}" >/dev/null; then option=\${words[i]}; fi
    elif [[ ! $verb ]]; then verb=\${words[i]}
    else at=$((at + 1))
    fi
  done
  if [[ $option ]]; then values=$(_fidelity_tracker_values "$verb" "$option")
  elif [[ $word == --*=* ]]; then
    values=$(_fidelity_tracker_values "$verb" "\${word%%=*}")
    word=\${word#*=}
  elif [[ $word == -* ]]; then values=$(_fidelity_tracker_options "$verb")
  elif [[ ! $verb ]]; then values='${verbs.map(({ name }) => name).join(' ')}'
  else values=$(_fidelity_tracker_arguments "$verb" "$at")
  fi
  COMPREPLY=()
  case $values in
    @file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    @folder) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    @text) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word") ;;
  esac
} && complete -F _fidelity_tracker ${program}
`
}

function names(options: readonly OptionFacts[]): string {
  return options.flatMap((option) => option.names).join(' ')
}

/** As `case` has them; of every verb without one. */
function patterns(options: readonly OptionFacts[], verb?: string): { pattern: string; told: string }[] {
  return options.flatMap(({ names, values }) =>
    values ? names.map((name) => ({ pattern: `${verb ?? '*'}' ${name}'`, told: told(values) })) : [],
  )
}

function argumentCases(verb: VerbFacts): string[] {
  return verb.arguments.flatMap(({ values }, index) =>
    values.kind === 'text' ? [] : [`    '${verb.name} ${index + 1}') echo '${told(values)}' ;;`],
  )
}

function told(values: Values): string {
  return values.kind === 'words' ? values.words.join(' ') : `@${values.kind}`
}
