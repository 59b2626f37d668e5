"""The completion scripts are fresh, and complete for real in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from ft_sync.cli import seen
from ft_sync.cli.completions import FILES, script
from ft_sync.models import JobStatus
from tests.builders import job

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
        "FTSYNC_CACHE_DIR": str(tmp_path / "cache"),
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


@needs("fish")
def test_fish_completes_a_folder_where_there_is_nothing_to_offer(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "an-archive").mkdir()
    steps = f"source '{COMPLETIONS / FILES['fish']}'; complete --do-complete 'ftsync sync --from-archive an-'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", steps], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["an-archive/"]


@needs("zsh")
@pytest.mark.parametrize(("words", "expected"), [("ftsync st", "status"), ("ftsync sync --over", "--overwrite")])
def test_zsh_completes_at_the_first_tab(words: str, expected: str, environment: dict[str, str]) -> None:
    shell = pexpect.spawn("zsh", ["-f", "-i"], env=environment, encoding="utf-8", timeout=60, dimensions=(40, 200))
    shell.sendline(f"PS1='ready> '; fpath=('{COMPLETIONS}' $fpath); autoload -Uz compinit; compinit -u -D")
    shell.sendline("print -r -- set-up-done")
    shell.expect("\r\nset-up-done")
    shell.expect_exact("ready> ")
    shell.send(f"{words}\t")
    shell.expect_exact(f"{words}{expected.removeprefix(words.rsplit(maxsplit=1)[-1])}")
    shell.close(force=True)


EVIL = "\\$(touch owned)`touch owned`'; touch owned; '\"\x1b]0;owned\x07[red]"


@pytest.fixture
def known(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs that were seen, some of them made up to do harm; returns an empty folder to work in."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "FTSYNC_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FTSYNC_CACHE_DIR", environment["FTSYNC_CACHE_DIR"])
    names = ("good", "it's", "a b", "$(touch owned)", "*", EVIL, "\n")
    failed: dict[str, Any] = {"status": JobStatus("failed"), "fine_tuned_model": None}
    seen.keep_jobs([job(f"ftjob-{name}", base_model=f"m-1:x {EVIL}", **failed) for name in names], "openai")
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@needs("bash")
def test_bash_completes_the_id_of_a_job_that_was_seen(known: Path, environment: dict[str, str]) -> None:
    shell = pexpect.spawn(
        "bash", ["--norc", "-i"], env=environment, encoding="utf-8", timeout=60, dimensions=(40, 200), cwd=str(known)
    )
    shell.sendline(f"PS1='ready> '; source '{COMPLETIONS / FILES['bash']}'; echo set-up-''done")
    shell.expect_exact("set-up-done")
    shell.expect_exact("ready> ")
    shell.send("ftsync status ftj\t")
    shell.expect_exact("ftjob-good ")
    shell.close(force=True)
    assert list(known.iterdir()) == []


@needs("fish")
def test_fish_completes_the_id_of_a_job_that_was_seen(known: Path, environment: dict[str, str]) -> None:
    steps = f"source '{COMPLETIONS / FILES['fish']}'; complete --do-complete 'ftsync status ftj'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", steps], env=environment, cwd=known, capture_output=True, text=True, check=True
    )
    offered = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(value, shown[:16]) for value, shown in offered] == [("ftjob-good", "failed · m-1:x ?")]
    assert list(known.iterdir()) == []


@needs("zsh")
def test_zsh_completes_the_id_of_a_job_that_was_seen(known: Path, environment: dict[str, str]) -> None:
    shell = pexpect.spawn(
        "zsh", ["-f", "-i"], env=environment, encoding="utf-8", timeout=60, dimensions=(40, 200), cwd=str(known)
    )
    shell.sendline(f"PS1='ready> '; fpath=('{COMPLETIONS}' $fpath); autoload -Uz compinit; compinit -u -D")
    shell.sendline("print -r -- set-up-done")
    shell.expect("\r\nset-up-done")
    shell.expect_exact("ready> ")
    shell.send("ftsync status ftj\t")
    shell.expect_exact("ob-good")
    shell.close(force=True)
    assert list(known.iterdir()) == []
