"""What is shown of a sync: each job once and in its place, none forgotten in the counts."""

from __future__ import annotations

from ft_sync.cli.board import LINGERING, Board
from ft_sync.errors import Unavailable
from ft_sync.events import Advanced, Delayed, Interrupted, JobArchived, Planned, Selected, Settled, Started, Waiting
from ft_sync.models import Create, Failed, Job, JobId, JobStatus, RunId, Skip, Skipped, Synced, Wait
from tests.builders import at, job

URL = "https://wandb.ai/acme/p/runs/ftjob-1"


def create(one: Job) -> Create:
    return Create(one, RunId(one.id), "not in W&B yet")


def synced(one: Job) -> Settled:
    return Settled(Synced(one.id, one.status, RunId(one.id), 90, "not in W&B yet", URL))


def running(name: str = "ftjob-live", **changes: object) -> Job:
    return job(name, **{"status": JobStatus("running"), "finished_at": None, "estimated_finish": None, **changes})


JOBS = [job(f"ftjob-{number}") for number in range(1, 9)]


def at_work(*jobs: Job) -> Board:
    board = Board(0.0)
    board.fold(Planned(tuple(map(create, JOBS))), 0)
    for one in jobs:
        board.fold(Started(create(one)), 1)
    return board


def shown(board: Board, room: int = 20, now: float = 2.0) -> list[str]:
    return [f"{row.job_id[6:]} {row.state}" for row in board.view(room, now).rows]


def test_before_anything_is_planned_it_looks_for_jobs() -> None:
    board = Board(0.0)
    assert (board.doing, board.jobs, board.view(20, 1)) == ("looking for jobs", 0, ([], {}))


def test_a_job_at_work_passes_through_its_phases_and_tells_its_run_and_its_metrics() -> None:
    board = at_work(JOBS[0])
    board.fold(Advanced(JOBS[0].id, "metrics", URL, {"train_loss": 0.5}), 2)
    board.fold(Advanced(JOBS[0].id, "datasets"), 3)
    (row,) = board.view(20, 3).rows
    assert (row.state, row.share, row.url, row.metrics) == ("datasets", 0.4, URL, {"train_loss": 0.5})


def test_a_job_keeps_its_place_when_one_above_it_is_done() -> None:
    board = at_work(*JOBS[:3])
    board.fold(synced(JOBS[0]), 2)
    assert shown(board) == ["1 synced, 90 rows", "2 reading", "3 reading"]


def test_the_next_job_takes_the_place_of_one_that_is_done() -> None:
    board = at_work(*JOBS[:3])
    board.fold(synced(JOBS[1]), 2)
    board.fold(Started(create(JOBS[3])), 2)
    assert shown(board) == ["1 reading", "4 reading", "3 reading"]


def test_what_is_done_goes_after_a_while() -> None:
    board = at_work(*JOBS[:2])
    board.fold(synced(JOBS[0]), 2)
    assert shown(board, now=1.9 + LINGERING) == ["1 synced, 90 rows", "2 reading"]
    assert shown(board, now=2 + LINGERING) == ["2 reading"]


def test_what_has_no_room_is_counted() -> None:
    board = at_work(*JOBS[:5])
    board.fold(Advanced(JOBS[0].id, "verifying"), 2)
    board.fold(Waiting(running(status=JobStatus("queued"))), 2)
    view = board.view(2, 2)
    assert [row.job_id for row in view.rows] == ["ftjob-2", "ftjob-3"]
    assert view.hidden == {"more at work": 2, "to be verified": 1, "more waiting": 1, "still to come": 2}


def test_what_waits_comes_after_what_is_at_work() -> None:
    board = Board(0.0)
    queued, live = running("ftjob-queued", status=JobStatus("queued")), running()
    board.fold(Planned((Wait(queued, "is queued"), Wait(live, "is running"))), 0)
    board.fold(Waiting(queued), 1)
    board.fold(Waiting(live, 3, 10), 1)
    assert shown(board) == ["live step 3/10", "queued queued"]
    board.fold(Waiting(running("ftjob-queued")), 2)
    assert shown(board) == ["live step 3/10", "queued running"]


def test_a_job_that_is_left_to_wandb_gives_its_place_away_and_is_still_counted() -> None:
    board = at_work(JOBS[0])
    board.fold(Advanced(JOBS[0].id, "verifying"), 2)
    board.fold(Started(create(JOBS[1])), 2)
    assert shown(board) == ["2 reading"]
    assert board.view(20, 2).hidden == {"to be verified": 1, "still to come": 6}
    board.fold(synced(JOBS[0]), 3)
    assert board.view(20, 3).hidden == {"still to come": 6}
    assert board.ends == {"synced": 1}


def test_the_service_knows_when_a_job_ends_and_else_its_pace_tells() -> None:
    board = Board(0.0)
    board.fold(Waiting(running(estimated_finish=at(60)), 5, 10), at(0).timestamp())
    assert board.view(20, 0).rows[0].ends == at(60).timestamp()
    board = Board(0.0)
    board.fold(Waiting(running(), 10, 40), 100)
    assert board.view(20, 100).rows[0].ends is None
    board.fold(Waiting(running(), 20, 40), 150)
    assert board.view(20, 150).rows[0].ends == 250


def test_a_job_that_is_written_after_it_has_run_begins_anew_in_its_place() -> None:
    live = running()
    board = at_work()
    board.fold(Waiting(live, 10, 40, {"train_loss": 0.5}, URL), 1)
    board.fold(Waiting(live, 20, 40, {"train_loss": 0.4}, URL), 2)
    board.fold(Started(create(live)), 3)
    (row,) = board.view(20, 3).rows
    assert (row.state, row.share, row.ends, row.url) == ("reading", 0.0, None, URL)


def test_the_ends_are_counted_also_of_jobs_that_had_no_row() -> None:
    board = at_work()
    board.fold(Planned((Skip(job("ftjob-old"), "already complete"),)), 1)
    board.fold(Settled(Skipped(JobId("ftjob-old"), "already complete")), 1)
    board.fold(Settled(Failed(JobId("ftjob-unreadable"), Unavailable("away"))), 1)
    assert (board.jobs, board.done, board.ends) == (9, 2, {"skipped": 1, "failed": 1})
    assert shown(board) == []


def test_how_long_the_others_take_is_told_once_some_are_done_and_none_is_followed() -> None:
    board = at_work(*JOBS)
    for one in JOBS[:4]:
        board.fold(synced(one), 8)
    assert board.left(8) is None
    board.fold(synced(JOBS[4]), 10)
    assert board.left(10) == 6
    board.fold(Waiting(running(), 1, 2), 10)
    assert board.left(10) is None


def test_why_everybody_waits_is_shown_until_it_is_over() -> None:
    board = at_work()
    board.fold(Delayed("OpenAI limits the rate", 10), 100)
    assert board.delay(104) == ("OpenAI limits the rate", 6)
    assert board.delay(110) is None


def test_an_interruption_is_remembered() -> None:
    board = at_work()
    board.fold(Interrupted(), 1)
    assert board.is_interrupted
    assert board.view(20, 1).hidden == {"left for the next time": 8}


def test_a_job_that_failed_shows_how_far_it_came() -> None:
    board = at_work(JOBS[0])
    board.fold(Advanced(JOBS[0].id, "datasets"), 1)
    board.fold(Settled(Failed(JOBS[0].id, Unavailable("away"))), 2)
    (row,) = board.view(20, 2).rows
    assert (row.state, row.share) == ("failed", 0.4)


def test_archiving_counts_jobs_alone() -> None:
    board = Board(0.0)
    board.fold(Selected(2, "archive"), 0)
    board.fold(JobArchived(Failed(JobId("ftjob-1"), Unavailable("away"))), 1)
    assert (board.doing, board.jobs, board.ends) == ("archiving", 2, {"failed": 1})
