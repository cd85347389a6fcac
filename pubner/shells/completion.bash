# Completion of pubner in bash, made by `pubner completion bash`.
_pubner() {
    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]-} second='' options='' values='' given=''
    COMPREPLY=()
    if [[ $current == "=" ]]; then
        current=''
    elif [[ $option == "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD == 1)); then
        values=@first
        COMPREPLY=($(compgen -W "$values --help --version" -- "$current" || true))
        return
    fi
    case "$command" in
@second
    esac
    if [[ -n "$second" ]]; then
        if ((COMP_CWORD == 2)); then
            COMPREPLY=($(compgen -W "$second --help" -- "$current" || true))
            return
        fi
        command="$command ${COMP_WORDS[2]}"
    fi
    case "$command" in
@options
        help) values=@first ;;
    esac
    case "$command $option" in
@values
    esac
    if [[ -z "$given" && "$current" == -* ]]; then
        values=$options
    fi
    COMPREPLY=($(compgen -W "$values" -- "$current" || true))
}
complete -o default -F _pubner pubner
