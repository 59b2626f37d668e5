"""How a sync looks: at every size whole lines, whole words where there is room, and the total first."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.style import Style

from ft_sync.cli.board import Board
from ft_sync.cli.panel import COARSE, about, draw, headline
from ft_sync.errors import Unavailable
from ft_sync.events import Advanced, Delayed, Interrupted, Planned, Settled, Started, Waiting
from ft_sync.models import Create, Failed, Job, JobStatus, RunId, Synced
from tests.builders import job

SITE = "https://wandb.ai/rusty-sprocket/OpenAI-Fine-Tune/runs/"
LIVE = job("ftjob-" + "live" * 6, status=JobStatus("running"), finished_at=None, estimated_finish=None)
QUEUED = job("ftjob-" + "wait" * 6, status=JobStatus("validating_files"), finished_at=None)


def many(count: int) -> list[Job]:
    return [job(f"ftjob-{number:03}{'x' * 18}{number:03}") for number in range(count)]


def board(count: int) -> Board:
    """So many jobs, a quarter of them at work, among others one that is trained and one that waits."""
    jobs = many(count)
    known = Board(0.0)
    known.fold(Planned(tuple(Create(one, RunId(one.id), "new") for one in jobs)), 0)
    known.fold(Waiting(LIVE, 18, 360, {"train_mean_reward": 0.8123}, SITE + LIVE.id), 1)
    known.fold(Waiting(LIVE, 20, 360, {"train_mean_reward": 0.8123}, SITE + LIVE.id), 3)
    known.fold(Waiting(QUEUED), 3)
    for one in jobs[: max(1, count // 4)]:
        known.fold(Started(Create(one, RunId(one.id), "new")), 3)
        known.fold(Advanced(one.id, "datasets", SITE + one.id, {"train_loss": 0.396312, "full_valid_loss": 0.5123}), 4)
    return known


def lines(known: Board, width: int, height: int = 24, now: float = 42.0) -> list[str]:
    return [line.plain for line in draw(known, width, height, now)]


def test_one_job_at_80_columns() -> None:
    assert lines(board(1), 79)[1:] == [
        "  ftjob-livelivelivelivelivelive  ────────  step 20/360 5m left   reward 0.812",
        "  ftjob-000xxxxxxxxxxxxxxxxxx000  ━━━─────  datasets              loss 0.396",
        "  ftjob-waitwaitwaitwaitwaitwait  ────────  validating…",
    ]


def test_one_job_at_200_columns_tells_more_and_where_its_run_is() -> None:
    total, live, written, queued = lines(board(1), 199)
    assert " syncing 0 of 1  ───" in total
    assert total.endswith("42s")
    assert live.endswith(f"reward 0.812              {SITE}{LIVE.id}")
    assert "loss 0.396, valid 0.512" in written
    assert queued.endswith("validating files")


@pytest.mark.parametrize("width", [20, 40, 60, 79, 99, 120, 199])
@pytest.mark.parametrize("height", [3, 10, 24, 60])
@pytest.mark.parametrize("count", [1, 200])
def test_at_every_size_it_fits(width: int, height: int, count: int) -> None:
    known = board(count)
    known.fold(Delayed("OpenAI limits the rate", 60), 40)
    known.fold(Interrupted(), 40)
    drawn = draw(known, width, height, 42)
    assert all(cell_len(line.plain) <= max(width, 24) for line in drawn)
    assert len(drawn) <= max(5, height)


def test_200_jobs_show_as_many_as_fit_and_count_the_others() -> None:
    drawn = lines(board(200), 79)
    assert len(drawn) == 22
    assert drawn[-1] == "  31 more at work, 1 more waiting, 148 still to come"


def test_at_80_columns_ids_are_whole_and_longer_ones_differ() -> None:
    ids = ["ftjob-" + "a" * 31 + end for end in "xy"] + ["ftjob-" + "b" + "a" * 30 + "x"]
    known = Board(0.0)
    for one in map(job, ids):
        known.fold(Started(Create(one, RunId(one.id), "new")), 1)
    shown = [line.split()[0] for line in lines(known, 79)[1:]]
    assert len(set(shown)) == 3
    assert all(len(name) == 30 and "…" in name for name in shown)


def test_the_end_of_jobs_and_what_is_in_the_way_are_told_first() -> None:
    known = board(200)
    known.fold(Settled(Synced(many(1)[0].id, JobStatus("succeeded"), RunId("x"), 90, "new")), 40)
    known.fold(Settled(Failed(many(2)[1].id, Unavailable("away"))), 40)
    known.fold(Delayed("OpenAI limits the rate", 10), 40)
    known.fold(Interrupted(), 41)
    total, delay, interruption = lines(known, 79)[:3]
    assert "syncing 2 of 200" in total
    assert "1 synced, 1 failed" in total
    assert delay == "  OpenAI limits the rate: going on in 8 s"
    assert interruption.startswith("  finishing the jobs that are at work; Ctrl-C once more")


def test_a_terminal_without_its_letters_gets_ascii() -> None:
    for width in (40, 79, 120):
        drawn = [line.plain for line in draw(board(200), width, 24, 42, COARSE)]
        assert "".join(drawn).isascii()


def test_the_id_leads_to_the_run() -> None:
    (line,) = [line for line in draw(board(1), 79, 24, 42) if "live" in line.plain]
    links = [span.style.link for span in line.spans if isinstance(span.style, Style) and span.style.link]
    assert links == [SITE + LIVE.id]


def test_text_of_a_service_does_nothing_to_the_terminal() -> None:
    known = Board(0.0)
    known.fold(
        Waiting(job("ftjob-\x1b[2J", status=JobStatus("a\x07b"), finished_at=None), None, None, None, "\x1b]8"), 0
    )
    known.fold(Delayed("\x1b[31m", 10), 0)
    assert "\x1b" not in "".join(lines(known, 199, now=1))


def test_the_headline_is_the_loss_or_the_reward_and_else_what_is_there() -> None:
    assert headline({"train_accuracy": 1.0, "train_loss": 0.5, "valid_loss": 0.6, "full_valid_loss": 0.7}) == [
        ("loss", 0.5),
        ("valid", 0.7),
    ]
    assert headline({"other": 1.0, "scores/a/eval_reward": 0.5}) == [("eval_reward", 0.5)]
    assert headline({"other": 1.0}) == []


def test_a_time_to_wait_is_told_in_one_unit() -> None:
    assert [about(seconds) for seconds in (4, 59, 90, 5_999, 6_000, 90_000, 200_000)] == [
        *("4s", "59s", "2m", "2h", "2h", "25h", "2d")
    ]
