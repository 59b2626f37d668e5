from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pyte
import pytest

from ft_sync.cli.options import Output
from ft_sync.cli.progress import watching
from ft_sync.errors import Unavailable
from ft_sync.events import Advanced, Event, Interrupted, Noted, Planned, Settled, Started, Waiting
from ft_sync.models import Create, Failed, JobId, JobStatus, RunId, Skip, Skipped, Synced, Wait
from tests.builders import job

if TYPE_CHECKING:
    from collections.abc import Iterable

DONE = job("ftjob-1")
LIVE = job("ftjob-2", status=JobStatus("running"))
CREATE = Create(DONE, RunId(DONE.id), "not in W&B yet")
STORY: tuple[Event, ...] = (
    Planned((CREATE, Wait(LIVE, "is running"), Skip(job("ftjob-3"), "already complete"))),
    Started(CREATE),
    Advanced(DONE.id, "metrics"),
    Noted(DONE.id, "the service keeps no [bold]events\x1b[2J"),
    Settled(Synced(DONE.id, DONE.status, RunId(DONE.id), 3, "not in W&B yet")),
    Settled(Skipped(JobId("ftjob-3"), "already complete")),
    Waiting(LIVE),
    Waiting(LIVE),
    Waiting(LIVE, 3, 10, {"train_loss": 0.123456}),
    Settled(Failed(LIVE.id, Unavailable("W&B is away"))),
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def told(output: Output, events: Iterable[Event]) -> None:
    with watching(output) as observe:
        for event in events:
            observe(event)


def test_a_pipe_gets_one_line_for_each_thing_that_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    told(Output(), STORY)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "1 to write, 1 to wait for, 1 to skip",
        "ftjob-1: writing: not in W&B yet",
        r"ftjob-1: note: the service keeps no [bold]events\x1b[2J",
        "ftjob-1: synced, 3 rows",
        "ftjob-3: skipped: already complete",
        "ftjob-2: running",
        "ftjob-2: running, step 3 of 10, train_loss 0.1235",
        "ftjob-2: failed: W&B is away",
    ]


def test_verbose_tells_reasons_and_phases_too(capsys: pytest.CaptureFixture[str]) -> None:
    told(Output(verbose=True), STORY)
    lines = capsys.readouterr().err.splitlines()
    assert "ftjob-3: already complete" in lines
    assert "ftjob-1: metrics" in lines


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told(Output(quiet=True), STORY)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_it_live_and_keeps_notes_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(), STORY)
    seen = screen.getvalue()
    assert r"the service keeps no [bold]events\x1b[2J" in seen
    assert "ftjob-2: failed: W&B is away" in seen
    assert "ftjob-1: synced" not in seen


def test_a_terminal_is_as_it_was_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(), STORY)
    emulated = pyte.Screen(80, 24)
    pyte.Stream(emulated).feed(screen.getvalue().replace("\n", "\r\n"))
    assert [line.rstrip() for line in emulated.display if line.strip()] == [
        r"ftjob-1: note: the service keeps no [bold]events\x1b[2J",
        "ftjob-2: failed: W&B is away",
    ]
    assert screen.getvalue().endswith("\x1b[?25h")


def test_an_interrupted_command_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(), [*STORY[:-1], Interrupted()])
    emulated = pyte.Screen(80, 24)
    pyte.Stream(emulated).feed(screen.getvalue().replace("\n", "\r\n"))
    assert [line.rstrip() for line in emulated.display if line.strip()][-1] == "1 synced, 1 skipped; 1 left"


@pytest.mark.parametrize("url", ["https://wandb.ai/runs/1", "https://wandb.ai/" + "x" * 60])
@pytest.mark.parametrize("width", ["80", "200"])
def test_where_a_followed_job_is_to_be_seen_is_told_once(width: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", width)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(), [Waiting(LIVE, url=url), Waiting(LIVE, 1, 2, None, url)])
    assert screen.getvalue().count(f"see {url}") == (width == "80")


def test_a_pipe_tells_where_a_followed_job_is_to_be_seen_once(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://wandb.ai/runs/1"
    told(Output(), [Waiting(LIVE, url=url), Waiting(LIVE, 1, 2, None, url)])
    assert capsys.readouterr().err.splitlines() == [
        f"ftjob-2: see {url}",
        "ftjob-2: running",
        "ftjob-2: running, step 1 of 2",
    ]


@pytest.mark.parametrize("name", ["NO_COLOR", "--no-color"])
def test_no_color_is_honoured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    if name == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(color=name != "--no-color"), STORY)
    assert "\x1b[3" not in screen.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told(Output(), STORY)
    assert "\x1b" not in screen.getvalue()
    assert "ftjob-1: synced, 3 rows\n" in screen.getvalue()
