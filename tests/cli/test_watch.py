"""`status --watch`: until the jobs have ended, in a pipe and in a terminal."""

from __future__ import annotations

import itertools
import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync import api
from ft_sync.cli import watch
from ft_sync.cli.options import Output
from ft_sync.errors import Unavailable
from ft_sync.models import Failed, JobId, JobStatus, MetricRow, SyncState
from ft_sync.overview import Detail, Standing
from ft_sync.sandbox import World, samples
from tests.builders import job
from tests.live.driven import Driven

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.sandbox import Sandbox
    from ft_sync.sandbox.faults import Request
    from tests.cli.conftest import Ftsync


def detail(name: str = "ftjob-1", status: str = "running", step: int | None = None, count: int = 0) -> Detail:
    one = job(name, status=JobStatus(status), finished_at=None, estimated_finish=None)
    rows = tuple(MetricRow(number, {"train_loss": 2 / number}) for number in range(1, count + 1))
    metrics = {} if step is None else {"train_loss": 0.5}
    return Detail(Standing(one, SyncState.ABSENT), (), step, 40 if step else None, metrics, rows=rows)


AWAY = Failed(JobId("ftjob-1"), Unavailable("OpenAI is away"))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[Detail | Failed]]:
    """What each look brings."""
    to_come: list[list[Detail | Failed]] = []

    def told(job_ids: list[str], **_: object) -> Iterator[list[Detail | Failed]]:
        assert job_ids
        yield from to_come

    monkeypatch.setattr(api, "watch_jobs", told)
    return to_come


def test_a_pipe_gets_a_line_for_each_change(ftsync: Ftsync, looks: list[list[Detail | Failed]]) -> None:
    queued, first, second = detail(status="queued"), detail(step=1), detail(step=2)
    looks += [[queued], [queued], [first], [AWAY], [AWAY], [second], [detail(status="succeeded", step=2)]]
    said = ftsync("status", "ftjob-1", "--watch")
    assert [row[1:4] for row in said.rows] == [
        ["queued", "-", "-"],
        ["running", "step 1 of 40", "train_loss 0.5"],
        ["running", "step 2 of 40", "train_loss 0.5"],
        ["succeeded", "step 2 of 40", "train_loss 0.5"],
    ]
    assert said.err == "ftjob-1: OpenAI is away; trying again\n"
    assert said.code == 0


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 6), ("cancelled", 6)])
def test_the_exit_code_says_how_the_jobs_ended(
    status: str, code: int, ftsync: Ftsync, looks: list[list[Detail | Failed]]
) -> None:
    looks += [[detail(), detail("ftjob-2")], [detail(status=status), detail("ftjob-2", "succeeded")]]
    assert ftsync("status", "ftjob-1", "ftjob-2", "--watch").code == code


def test_a_job_that_cannot_be_had_costs_no_other(ftsync: Ftsync, world: World) -> None:
    (one,) = samples.many(1)
    world.add(one)
    said = ftsync("status", one.id, "ftjob-typo", "--watch")
    assert said.code == 3
    assert [row[0] for row in said.rows] == [one.id]
    assert "ftjob-typo" in said.err


def test_a_job_that_none_knows_ends_it_at_once(ftsync: Ftsync) -> None:
    said = ftsync("status", "ftjob-typo", "--watch")
    assert (said.code, said.out) == (3, "")


def test_the_document_comes_when_all_have_ended(ftsync: Ftsync, looks: list[list[Detail | Failed]]) -> None:
    looks += [[detail(step=1)], [detail(status="succeeded", step=2)]]
    said = ftsync("status", "ftjob-1", "--watch", "--json")
    assert [(one["status"], one["progress"]["step"]) for one in said.json["jobs"]] == [("succeeded", 2)]
    assert ftsync("status", "ftjob-1", "--watch", "-q").out == "ftjob-1\n"


@pytest.mark.parametrize(
    "arguments",
    [("--watch",), ("--watch", "ftjob-1", "--from-archive", "folder"), ("ftjob-1", "--poll-interval", "5")],
)
def test_what_does_not_fit_is_refused(arguments: tuple[str, ...], ftsync: Ftsync) -> None:
    said = ftsync("status", *arguments)
    assert said.code == 2
    assert "--watch" in said.err


def test_a_job_is_asked_for_until_it_has_ended_and_then_no_more(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    driven = Driven(world)
    driven.is_now("running")
    driven.reports(1)
    done = samples.many(1)[0]
    world.add(done)

    looks = itertools.count(1)

    def ends_at_the_second_look(_: Request) -> bool:
        if next(looks) == 2:
            driven.ends()
        return False

    sandbox.fail(f"{driven.id}$", when=ends_at_the_second_look)
    said = ftsync("status", driven.id, done.id, "--watch", "--poll-interval", "0.05")
    assert said.code == 0
    assert [row[:2] for row in said.rows] == [[driven.id, "running"], [done.id, "succeeded"], [driven.id, "succeeded"]]
    assert sandbox.count(f"{done.id}$") == 1


def test_one_job_fills_the_screen_with_its_curve_and_several_get_a_line_each() -> None:
    known = watch.Watch(Output(color=False))
    known.learn([detail(step=20, count=20)])
    for width, height in ((79, 24), (199, 50), (79, 10), (40, 12)):
        lines = known.draw(width, height)
        assert len(lines) < height
    plain = [line.plain for line in known.draw(79, 24)]
    assert any("train_loss  last 0.1" in line for line in plain)
    known.learn([detail(f"ftjob-{number}", step=20) for number in range(30)])
    plain = [line.plain for line in known.draw(79, 24)]
    assert len(plain) == 22
    assert plain[1].split() == ["ftjob-1", "running", "20/40", "loss", "0.5", "absent"]


def test_a_service_that_is_away_is_told_below_what_is_known() -> None:
    known = watch.Watch(Output(color=False))
    known.learn([detail()])
    known.learn([AWAY])
    assert known.draw(79, 24)[-1].plain == "ftjob-1: OpenAI is away"


def test_in_a_terminal_the_last_picture_stays(ftsync: Ftsync, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    sample = samples.live_job(time.time() - 17.5)
    world.add(sample)
    said = ftsync("status", sample.id, "--watch", "--poll-interval", "0.2")
    assert said.code == 0
    final = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.out.rsplit("\x1b[?25h", 1)[-1])
    assert "succeeded" in final
    assert "full_valid_loss  last" in final
