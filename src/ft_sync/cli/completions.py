"""Writes the shell completion scripts for the release: `python -m ft_sync.cli.completions FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {"bash": "ftsync.bash", "zsh": "_ftsync", "fish": "ftsync.fish", "powershell": "ftsync.ps1"}

ZSH_END = "compdef _ftsync_completion ftsync"

# Zsh autoloads the file at the first Tab and then runs it; without this, the first Tab would complete nothing.
ZSH_END_AUTOLOADED = f"""\
zstyle ':completion:*:*:ftsync:*' sort false
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _ftsync_completion "$@"
else
  {ZSH_END}
fi"""

FISH = """\
complete --command ftsync --no-files --arguments "(env _FTSYNC_COMPLETE=complete_fish \
_TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS=(commandline -cp) ftsync)" --condition "env \
_FTSYNC_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args _TYPER_COMPLETE_ARGS=(commandline -cp) ftsync\""""

# One process per TAB instead of two: whether there are completions shows in the list of completions itself.
FISH_AT_ONCE = """\
function __ftsync_complete
    set -l offers (env _FTSYNC_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS=(commandline -cp) ftsync)
    if test -n "$offers"
        printf '%s\\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command ftsync --no-files --keep-order --arguments "(__ftsync_complete)\""""

# Keep jobs newest first, since shells sort by default; add no space after `group=`, which needs a value.
IMPROVEMENTS = (
    ("bash", "    return 0\n", "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0\n"),
    ("bash", "complete -o default ", "complete -o default -o nosort "),
    ("fish", FISH, FISH_AT_ONCE),
    ("zsh", ZSH_END, ZSH_END_AUTOLOADED),
)
"""Tuples of a shell, a text in its generated script, and the replacement."""


def script(shell: str) -> str:
    """Return the completion script that Typer generates for a shell, with the improvements applied."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "ft_sync", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stdout.strip()
    for of, said, better in IMPROVEMENTS:
        if of == shell:
            assert said in text, f"{shell}: {said}"
            text = text.replace(said, better)
    return text + "\n"


def write(folder: Path) -> None:
    """Write the script of every shell."""
    for shell, name in FILES.items():
        (folder / name).write_text(script(shell), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
