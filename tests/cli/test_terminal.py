"""What people see: tables on a terminal, in colour unless they want none."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.sandbox import World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync

COLOR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")


@pytest.fixture(autouse=True)
def _terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make of what capsys puts in the place of stdout and stderr a terminal of 160 columns."""
    assert capsys
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)


def plain(text: str) -> list[str]:
    return [" ".join(re.sub(r"\x1b\[[0-9;]*m", "", line).split()) for line in text.splitlines()]


def test_a_sync_ends_with_a_table_of_outcomes(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(1))
    said = ftsync("sync", "--offline")
    header, row = plain(said.out)
    assert header == "outcome job rows run or reason"
    assert row.startswith(f"synced {world.jobs[0].id} 4 ./wandb/offline-run-")
    assert COLOR.search(said.out)


def test_a_verification_is_a_table(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(2))
    newest, oldest = (job.id for job in world.jobs)
    ftsync("sync", "--job", oldest)
    said = ftsync("verify")
    assert plain(said.out) == [
        "verdict job reason",
        f"identical {oldest} -",
        f"missing {newest} not in W&B yet",
    ]
    assert COLOR.search(said.out)


def test_nothing_to_do_is_no_empty_table(ftsync: Ftsync) -> None:
    said = ftsync("sync")
    assert said.out == ""
    assert said.err.endswith("nothing to do\n")
    said = ftsync("list")
    assert (said.out, said.err) == ("", "no such jobs\n")


def test_a_dry_run_is_a_table(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(1))
    header, row = plain(ftsync("sync", "--dry-run").out)
    assert header == "would job because"
    assert row == f"create {world.jobs[0].id} not in W&B yet"


def test_a_listing_is_a_table(ftsync: Ftsync, world: World) -> None:
    sample = samples.finished_jobs()[1]
    world.add(sample)
    header, row = plain(ftsync("list").out)
    assert header == "job status method model created took tokens in W&B"
    assert row.startswith(f"{sample.id} succeeded supervised {sample.job['fine_tuned_model']} 20")
    assert row.endswith("13m 05s 28266 absent")


def test_a_listing_leads_to_the_runs_and_says_what_is_left_out(
    ftsync: Ftsync, world: World, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    newest, oldest = samples.many(2)
    world.add(newest, oldest)
    assert ftsync("sync", "-q", "--job", oldest.id).code == 0
    said = ftsync("list")
    links = re.findall(r"\x1b\]8;[^;]*;([^\x1b]+)\x1b\\([^\x1b]*)", COLOR.sub("", said.out))
    assert [(url.rsplit("/", 4)[-3:], text.strip()) for url, text in links] == [
        ([project, "runs", oldest.id], "complete"),
    ]
    assert said.err == "left out: tokens, took, method, created; widen the terminal, or use --json\n"


def test_jobs_in_depth_stand_apart_and_tell_their_progress(
    ftsync: Ftsync, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    finished, live = samples.finished_jobs()[1], samples.live_job(time.time() - 3)
    world.add(finished, live)
    lines = plain(ftsync("status", finished.id, live.id).out)
    assert lines[0] == f"job {finished.id}"
    assert lines[lines.index(f"job {live.id}") - 1] == ""
    assert any(re.fullmatch(r"progress step \d+ of 36, \d+s left", line) for line in lines)


def test_counts_are_a_table(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(2))
    assert plain(ftsync("status").out) == ["status succeeded 2", "in W&B absent 2"]


@pytest.mark.parametrize("wish", ["NO_COLOR", "--no-color", "TERM=dumb"])
def test_no_color_is_honoured(wish: str, ftsync: Ftsync, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add(*samples.many(1))
    if wish == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if wish == "TERM=dumb":
        monkeypatch.setenv("TERM", "dumb")
    assert not COLOR.search(ftsync("list", *[wish] * wish.startswith("--")).out)


def test_debug_of_a_terminal_is_plain(ftsync: Ftsync) -> None:
    assert "\x1b" not in ftsync("status", "ftjob-typo", "--debug").err
