#compdef pubner
# Completion of pubner in zsh, made by `pubner completion zsh`.
_pubner() {
    local command=${words[2]} option=${words[CURRENT-1]}
    local -a found values
    if ((CURRENT == 2)); then
        found=(@first)
        _describe command found
        return
    fi
    case $command in
@second
    esac
    if (($#found)); then
        if ((CURRENT == 3)); then
            _describe command found
            return
        fi
        command="$command ${words[3]}"
        found=()
    fi
    if [[ $PREFIX == --*=* ]]; then
        option=${PREFIX%%=*}
        compset -P '*='
    fi
    case "$command $option" in
@values
    esac
    case $command in
@options
        help) values=(@words) ;;
    esac
    if [[ $PREFIX == -* ]]; then
        _describe -o option found
    elif (($#values)); then
        compadd -a values
    else
        _files
    fi
}
if [[ ${funcstack[1]} == _pubner ]]; then _pubner "$@"; else compdef _pubner pubner; fi
