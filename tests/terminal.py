"""A terminal in which commands run one after another, between both services on loopback, each with the sample jobs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ft_sync.sandbox import World, samples, serve
from tests.wandb_backend import serving
from tests.wandb_backend.store import HISTORY

if TYPE_CHECKING:
    from types import TracebackType

COLUMNS = 130
PROJECT = "fine-tuning"

PROGRESS = re.compile(r"\d+ to |(ft|ftjob)-\S+: ")
"""Lines of stderr in whose place a terminal shows moving bars."""

SHELL = """
import contextlib, io, json, sys
from ft_sync.cli import run

class Screen(io.StringIO):
    isatty = lambda self: True

for line in sys.stdin:
    with contextlib.redirect_stdout(Screen()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        run(json.loads(line))
    print(json.dumps([out.getvalue(), err.getvalue()]), flush=True)
"""
"""One process for all commands: each of them would spend a second with its imports."""


class Terminal:
    """Use it as a context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            sandbox = stack.enter_context(serve(World(samples.finished_jobs())))
            self._backend = stack.enter_context(serving())
            self._folder = Path(folder, "work")
            self._folder.mkdir()
            plain = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "TZ": "UTC"}
            screen = {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONUTF8": "1"}
            services = sandbox.environment | self._backend.env(Path(folder)) | {"WANDB_PROJECT": PROJECT}
            del services["WANDB_DIR"]
            self._shell = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SHELL],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                    cwd=self._folder,
                    env=plain | screen | services,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._stack.__exit__(kind, error, trace)

    def told(self, command: str) -> str:
        """Run a command; return what it leaves on the screen: not how it went on meanwhile."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        print(json.dumps(shlex.split(command)), file=self._shell.stdin, flush=True)
        out, err = json.loads(self._shell.stdout.readline())
        said = "".join(line for line in err.splitlines(keepends=True) if not PROGRESS.match(line))
        return self._portable(out + said)

    def spoil(self, run_id: str) -> None:
        """Have W&B hold another number than it was told."""
        run = self._backend.run(self._backend.store.user, PROJECT, run_id)
        assert run is not None
        number, line = sorted(run.streams[HISTORY].items())[16]
        run.streams[HISTORY][number] = json.dumps(json.loads(line) | {"train_loss": 0.4242})

    def _portable(self, text: str) -> str:
        """Return what is printed without what differs from machine to machine: addresses, places and times."""
        text = text.replace(self._backend.url, "https://wandb.example").replace(f"{self._folder}/", "./")
        text = re.sub(r"\x1b(\[[0-9;]*m|\]8;.*?\x1b\\)", "", text)  # styles and links
        return re.sub(r"(offline-run-)\d+_\d+-", r"\1<time>-", text)
