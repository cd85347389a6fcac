# Completion of pubner in fish, made by `pubner completion fish`.
function __pubner_at
    set -l words (commandline -opc)
    set -e words[1]
    if contains -- "$words[1]" @families
        set words $words[1..2]
    else
        set words $words[1]
    end
    test "$words" = "$argv[1]"
end
@lines
