from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ft_sync
from ft_sync.cli import seen
from tests.builders import job

if TYPE_CHECKING:
    from pathlib import Path

PROBE = """
import sys
from ft_sync.cli import run
code = run(sys.argv[1:])
heavy = {"openai", "wandb", "pydantic_settings", "rich", "ft_sync.api", "ft_sync.models"}
print(code, *sorted(heavy & set(sys.modules)))
"""

TAB = """
import sys
from ft_sync.cli import run
try:
    run([])
finally:
    print(*sorted({"openai", "wandb", "pydantic", "rich.text"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["sync", "list", "status", "report", "demo"])
def test_the_help_of_a_command_imports_no_sdk(command: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize("words", ["ftsync ", "ftsync sy", "ftsync sync --", "ftsync sync --on-native ", "ftsync --"])
def test_a_tab_imports_neither_the_sdks_nor_pydantic(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FTSYNC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    done = subprocess.run([sys.executable, "-c", TAB], capture_output=True, text=True, check=False)
    assert done.stdout
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("words", ["ftsync sync --", "ftsync status ", "ftsync sync --project "])
def test_nor_does_a_tab_that_shows_descriptions_import_rich(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTSYNC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("FTSYNC_PROVIDER", "openai")
    seen.keep_jobs([job()], "openai")
    seen.keep_place(seen.Place("mine", "team"))
    monkeypatch.setenv("_FTSYNC_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", words)
    done = subprocess.run([sys.executable, "-c", TAB], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("_arguments")
    assert done.stderr.strip() == ""


def test_the_version_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "ft_sync", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ftsync {ft_sync.__version__}\n"
