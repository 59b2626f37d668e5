function __ftsync_complete
    set -l offers (env _FTSYNC_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp) ftsync)
    if test -n "$offers"
        printf '%s\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command ftsync --no-files --keep-order --arguments "(__ftsync_complete)"
