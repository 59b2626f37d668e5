"""Writes the completion scripts: `python -m ft_sync.cli.completions FOLDER`; the release ships what it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {"bash": "ftsync.bash", "zsh": "_ftsync", "fish": "ftsync.fish", "powershell": "ftsync.ps1"}

ZSH_END = "compdef _ftsync_completion ftsync"

# Zsh loads the file at the first Tab and calls it; without this the first Tab would complete nothing.
ZSH_END_AUTOLOADED = f"""\
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _ftsync_completion "$@"
else
  {ZSH_END}
fi"""


def script(shell: str) -> str:
    """Return the completion script that ftsync itself prints for a shell."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "ft_sync", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().replace(ZSH_END, ZSH_END_AUTOLOADED) + "\n"


def write(folder: Path) -> None:
    """Write the script of every shell."""
    for shell, name in FILES.items():
        (folder / name).write_text(script(shell), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
