"""The completion scripts are fresh, and complete for real in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from ft_sync.cli.completions import FILES, script

COMPLETIONS = Path(__file__).parents[1] / "completions"


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose `ftsync` is the one under test."""
    command = tmp_path / "bin" / "ftsync"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ft_sync "$@"\n')
    command.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
    }


@pytest.mark.parametrize("shell", FILES)
def test_each_script_is_what_the_program_prints_now(shell: str) -> None:
    assert (COMPLETIONS / FILES[shell]).read_text() == script(shell), "run `poe completions`"


@pytest.mark.parametrize("name", FILES.values())
def test_no_script_holds_a_path_of_the_machine_that_made_it(name: str) -> None:
    text = (COMPLETIONS / name).read_text()
    assert str(Path.home()) not in text
    assert sys.prefix not in text


@needs("bash")
@pytest.mark.parametrize(("words", "expected"), [("ftsync st", "status"), ("ftsync sync --over", "--overwrite")])
def test_bash_completes(words: str, expected: str, environment: dict[str, str]) -> None:
    steps = f"""
        source '{COMPLETIONS / FILES["bash"]}'
        COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        $(complete -p ftsync | sed 's/.*-F \\([^ ]*\\).*/\\1/') ftsync
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", steps], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected]


@needs("fish")
@pytest.mark.parametrize(("words", "expected"), [("ftsync st", "status"), ("ftsync sync --over", "--overwrite")])
def test_fish_completes(words: str, expected: str, environment: dict[str, str]) -> None:
    steps = f"source '{COMPLETIONS / FILES['fish']}'; complete --do-complete '{words}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", steps], env=environment, capture_output=True, text=True, check=True
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected]


@needs("zsh")
@pytest.mark.parametrize(("words", "expected"), [("ftsync st", "status"), ("ftsync sync --over", "--overwrite")])
def test_zsh_completes_at_the_first_tab(words: str, expected: str, environment: dict[str, str]) -> None:
    shell = pexpect.spawn("zsh", ["-f", "-i"], env=environment, encoding="utf-8", timeout=20, dimensions=(40, 200))
    shell.sendline(f"PS1='ready> '; fpath=('{COMPLETIONS}' $fpath); autoload -Uz compinit; compinit -u -D")
    shell.sendline("print -r -- set-up-done")
    shell.expect("\r\nset-up-done")
    shell.expect_exact("ready> ")
    shell.send(f"{words}\t")
    shell.expect_exact(f"{words}{expected.removeprefix(words.rsplit(maxsplit=1)[-1])}")
    shell.close(force=True)
