"""The README says what is so."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from typing import TYPE_CHECKING

from ft_sync.cli import documents
from ft_sync.compare import Difference, Differs, Identical, Missing, Unreadable, Verification
from ft_sync.errors import NotFound
from ft_sync.models import (
    Create,
    Enrich,
    Extend,
    Failed,
    JobId,
    Replace,
    RunId,
    Skip,
    Skipped,
    Synced,
    SyncReport,
    SyncState,
    Wait,
)
from ft_sync.overview import Detail, Standing
from ft_sync.planning import Preview
from tests.builders import job
from tests.fakes import complete_run
from tests.readme import README, renewed

if TYPE_CHECKING:
    from collections.abc import Mapping


def test_help_settings_exit_codes_and_sessions_are_those_of_the_program() -> None:
    text = README.read_text()
    assert renewed(text) == text, "run `poe readme`"


def test_the_two_set_up_lines_come_first_and_are_one_line_each() -> None:
    blocks = [block.partition("```")[0] for block in README.read_text().split("```bash\n")[1:]]
    assert [len(block.strip().splitlines()) for block in blocks] == [1, 1]
    assert [shlex.split(block)[-1] for block in blocks] == ["demo", ".venv/bin/pytest"]


def test_every_field_named_below_json_is_in_a_document() -> None:
    section = README.read_text().partition("\n## JSON\n")[2].partition("An error is a document")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    named = {name for _, _, fields, _ in rows for name in re.findall(r"`(\w+)`", fields)}
    assert named
    assert named - _words(_documents()) == set()


def _documents() -> list[Mapping[str, object]]:
    failed = Failed(JobId("ftjob-2"), NotFound("no such job"))
    synced = Synced(job().id, job().status, RunId("ftjob-1"), 2, "not in W&B yet")
    skipped = Skipped(job().id, "already complete")
    replace = Replace(job(), RunId("ftjob-1-r2"), "r", ())
    identical = Identical(job().id, RunId("1"))
    differs = Differs(job().id, RunId("1"), (Difference("row 1", 1, 2),))
    missing, unreadable = Missing(job().id, "r"), Unreadable(job().id, "source", failed.error)
    plans = (
        Create(job(), RunId("ftjob-1"), "r"),
        Extend(job(), RunId("ftjob-1"), "r", complete_run(job()), replace),
        Enrich(job(), RunId("ftjob-1"), "r", complete_run(job())),
        replace,
        Wait(job(), "r"),
        Skip(job(), "r"),
    )
    standings = [Standing(job(), state) for state in SyncState]
    return [
        documents.of_report(SyncReport((synced, skipped, failed)), "sync"),
        documents.of_preview(Preview(plans, (failed,)), "sync", 3),
        documents.of_verification(Verification((identical, differs, missing, unreadable, skipped))),
        documents.of_standings(standings),
        documents.of_details([(Detail(standings[0], (), None, None, {}), None)], [failed]),
        documents.of_counts(Counter(["succeeded"]), Counter(["complete"])),
    ]


def _words(value: object) -> set[str]:
    """Every key and every text in a document."""
    match value:
        case dict():
            return set(value) | {word for below in value.values() for word in _words(below)}
        case list():
            return {word for below in value for word in _words(below)}
        case _:
            return {str(value)}
