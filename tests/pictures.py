"""Makes the pictures of the README from the real program in a terminal: `python -m tests.pictures`; a test compares."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pexpect
import wandb
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from ft_sync.cli import run
from ft_sync.sandbox import API_KEY, World, samples, serve
from ft_sync.sandbox.samples.history import identifier
from tests.live.driven import Driven
from tests.wandb_backend import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS, LINES = 100, 40
SUPERVISED, REINFORCED = "ftjob-1LdB563SfkhvH8pUo541MPmi", "ftjob-ygO3T52ixdcoFRMkzutXP6AW"
WAIT = 30

REDRAWN = re.compile(r"\r\x1b\[2K((?:\x1b\[1A\x1b\[2K)*)")
CURSOR = re.compile(r"\x1b\[\?25[lh]")

PROGRAM = "from ft_sync import cli; from ft_sync.cli import board; board.LINGERING = 0.0; cli.main()"
"""The command, in which a row is gone at once when its job is done, so that the picture is the same at every time."""

SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's, without fonts from elsewhere: the picture asks nobody for anything."""


def of_a_listing() -> dict[str, str]:
    """Return the pictures of jobs that have ended, of which W&B holds two, by the names of their files."""
    commands = {
        "list.svg": ("list",),
        "status.svg": ("status", SUPERVISED),
        "status-reinforcement.svg": ("status", REINFORCED),
    }
    with _services(World(samples.finished_jobs())):
        _shown("sync", "--job", SUPERVISED, "--job", REINFORCED)
        return {name: _svg(_shown(*words), words) for name, words in commands.items()}


def of_a_sync() -> dict[str, str]:
    """Return the picture of a sync under way: most jobs are done, one is being read, two are trained, one waits."""
    world = World(samples.finished_jobs())
    trained = [Driven(world, identifier("", f"trained {number}", length=24), created=number) for number in (1, 2)]
    Driven(world, identifier("", "waits", length=24), created=3, status="queued")
    reinforced = world.job(REINFORCED)
    assert reinforced is not None
    with _services(world) as delay:
        delay(f"{reinforced.job['result_files'][0]}/content")
        terminal = pexpect.spawn(
            sys.executable,
            ["-c", PROGRAM, "sync", "--poll-interval", "0.2"],
            dimensions=(LINES, COLUMNS),
            encoding="utf-8",
        )
        seen: list[str] = []
        _until("4 synced, 2 skipped", terminal, seen)
        # One after the other, so that each run has its place.
        for driven, steps, minutes, loss in zip(trained, (64, 23), (12, 38), (0.4127, 0.9031), strict=True):
            driven.is_now("running", estimated_finish=int(time.time()) + minutes * 60)
            driven.reports(steps, train_loss=loss)
            lines = _until(f"step {steps}/100", terminal, seen)
        terminal.close(force=True)
    return {"sync.svg": _svg(lines, ("sync",))}


@contextmanager
def _services(world: World) -> Iterator[Callable[[str], None]]:
    """Serve both sides, and set the environment of this process; give what makes answers of OpenAI's come late."""
    with tempfile.TemporaryDirectory() as folder, serve(world) as sandbox, serving() as backend:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "COLUMNS": str(COLUMNS),
            "LINES": str(LINES),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "TZ": "UTC",
            "OPENAI_BASE_URL": sandbox.url,
            "OPENAI_API_KEY": API_KEY,
            **backend.env(Path(folder)),
        }
        with mock.patch.dict(os.environ, environment, clear=True), chdir(folder):
            wandb.teardown()
            time.tzset()
            yield lambda path: sandbox.fail(path, delay=2 * WAIT)
            wandb.teardown()
    time.tzset()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(*words: str) -> list[str]:
    """Return what a command shows that ends by itself."""
    terminal = _Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        assert run(words) == 0
    return _on_screen(terminal.getvalue())


def _until(wanted: str, terminal: pexpect.spawn[str], seen: list[str]) -> list[str]:
    """Wait until something is to be seen; return the lines of the screen."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        seen.append(terminal.read_nonblocking(100_000, timeout=WAIT))
        output = "".join(seen)
        # The last frame may not be there in full yet.
        lines = _on_screen(output[: output.rfind("\r\x1b[2K")])
        if wanted in Text.from_ansi("\n".join(lines)).plain:
            return lines
    raise AssertionError("\n".join([f"{wanted!r} did not come to be seen:", *lines]))


def _on_screen(output: str) -> list[str]:
    """Return the lines that are to be seen when those that were drawn anew have taken the place of the others."""
    first, *frames = REDRAWN.split(CURSOR.sub("", output.replace("\r\n", "\n")))
    lines = first.splitlines()
    for back, text in zip(frames[::2], frames[1::2], strict=True):
        del lines[len(lines) - back.count("\x1b[1A") :]
        lines += text.splitlines()
    return lines


def _svg(lines: list[str], words: tuple[str, ...]) -> str:
    """Return a picture of lines, the same at every time and on every machine."""
    text = "\n".join(lines)
    text = re.sub(r"http://127\.0\.0\.1:\d+/ada/", "https://wandb.ai/acme/", text)
    text = re.sub("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] ", "⠹ ", text, count=1) if words == ("sync",) else text
    text = re.sub(r" +\d+s(?=\x1b\[0m$)", lambda found: "14s".rjust(len(found[0])), text, flags=re.MULTILINE)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ ", "dim").append(f"ftsync {' '.join(words)}", "not dim bold"))
    for line in text.splitlines():
        console.print(Text.from_ansi(line), highlight=False)
    return console.export_svg(title="ftsync", theme=DIMMED_MONOKAI, code_format=SVG_FORMAT, unique_id=words[0])


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in {**of_a_listing(), **of_a_sync()}.items():
        (FOLDER / name).write_text(picture, encoding="utf-8")
