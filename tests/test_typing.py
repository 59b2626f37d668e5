"""The types that callers see: the first part is for the type checker, which reads the tests, and is never run."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, assert_type

import ft_sync
from ft_sync.archives import Problem
from ft_sync.compare import Verification
from ft_sync.diagnosis import Check
from ft_sync.models import ArchiveReport, Failed, JobId, SyncReport
from ft_sync.overview import Detail, Standing
from ft_sync.planning import Preview
from ft_sync.reporting import ProjectReport

if TYPE_CHECKING:
    from ft_sync.events import Event


def _callers_see() -> None:
    def heard(event: Event) -> None:
        del event

    assert_type(ft_sync.sync("ftjob-1", observer=heard), SyncReport)
    assert_type(ft_sync.sync(["ftjob-1"], on_native="skip", tags=["mine"]).timed_out, tuple[JobId, ...])
    assert_type(ft_sync.preview(num_fine_tunes=5), Preview)
    assert_type(ft_sync.verify(repair=True), Verification)
    assert_type(ft_sync.archive("folder"), ArchiveReport)
    assert_type(ft_sync.check_archive("folder"), Iterator[Problem])
    assert_type(ft_sync.list_jobs(limit=5), Iterator[Standing | Failed])
    assert_type(ft_sync.job_details(["ftjob-1"]), Iterator[Detail | Failed])
    assert_type(ft_sync.watch_jobs(["ftjob-1"]), Iterator[list[Detail | Failed]])
    assert_type(ft_sync.report(), ProjectReport)
    assert_type(ft_sync.diagnose(), Iterator[Check])
    assert_type(ft_sync.WandbLogger.sync("ftjob-1", num_fine_tunes=5), str | None)
    assert_type(ft_sync.__version__, str)
    ft_sync.sync(num_fine_tunes="5")  # type: ignore[arg-type]
    ft_sync.sync(on_native="delete")  # type: ignore[arg-type]
    ft_sync.WandbLogger.sync(project=None)  # type: ignore[arg-type]


def test_every_public_name_has_its_type_tested() -> None:
    names = {*_callers_see.__code__.co_names}
    assert {name for name in ft_sync.__all__ if name[0].islower() or name == "WandbLogger"} <= names


def test_the_types_are_shipped() -> None:
    assert (files("ft_sync") / "py.typed").is_file()
