# bash completion of sluice; made by scripts/packaging/make_manual.py from what the command line knows; do not edit
_sluice() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path='' words='' files='' word i skip=''
  local known=' audit audit/verify check connections connections/end connections/list demo doctor events guard mask reload run scan sessions sessions/kill sessions/list sessions/show status try unload version '
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -- ]]; then   # the rest is a command of its own
      if ((i + 1 == COMP_CWORD)); then COMPREPLY=($(compgen -c -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi
      return
    fi
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
      --config|--head|--dir|--policy|--data|--exclude|--filter|--include|--limit|--max-expanded|--max-file-size|--max-findings|--pattern|--since|--style|--target|--threads|--until) skip=yes; continue ;;
      -*) continue ;;
    esac
    if [[ $known == *" ${path:+$path/}$word "* ]]; then path=${path:+$path/}$word; fi
  done
  case $previous in
    --config|--head) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --dir|--policy) COMPREPLY=($(compgen -d -- "$current")); return ;;
    --data|--exclude|--filter|--include|--limit|--max-expanded|--max-file-size|--max-findings|--pattern|--since|--style|--target|--threads|--until) return ;;
  esac
  case ${path//\// } in
    '') words='run guard unload check doctor try demo version status reload sessions connections events audit mask scan -h --help --config --version' ;;
    'run') words='-h --help --config' ;;
    'guard') words='-h --help --config' ;;
    'unload') words='-h --help --config --json' ;;
    'check') words='-h --help --config --json' ;;
    'doctor') words='-h --help --config --json' ;;
    'try') words='-h --help --config --json --policy' ;;
    'demo') words='-h --help --config --yes' ;;
    'version') words='-h --help --config --json' ;;
    'status') words='-h --help --config --json' ;;
    'reload') words='-h --help --config --json' ;;
    'sessions') words='list show kill -h --help --config --json' ;;
    'sessions list') words='-h --help --config --json --past --since' ;;
    'sessions show') words='-h --help --config --json' ;;
    'sessions kill') words='-h --help --config --json' ;;
    'connections') words='list end -h --help --config --json' ;;
    'connections list') words='-h --help --config --json' ;;
    'connections end') words='-h --help --config --json --target --all' ;;
    'events') words='-h --help --config --json --since --until --filter --limit -f --follow --dir' ;;
    'audit') words='verify -h --help --config' ;;
    'audit verify') words='-h --help --config --json --dir --head' ;;
    'mask') words='-h --help --config --style --data --pattern --trust-keys --report' files=yes ;;
    'scan') words='-h --help --config --json --data --pattern --trust-keys --include --exclude --follow-links --no-archives --max-file-size --max-expanded --max-findings --threads' files=yes ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ -n $files && $current != -* ]]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _sluice sluice
