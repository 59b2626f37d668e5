"""Each fault of the OpenAI side on each route, in the middle of a sync of eleven jobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import ft_sync
from ft_sync.errors import AuthError, FtSyncError, Unavailable
from ft_sync.sandbox import samples
from ft_sync.sources import bounds, pace
from ft_sync.sources import openai as source

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from ft_sync.models import SyncReport
    from tests.faults.conftest import Account

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
UNDELIMITED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b'{"object'
AS_HTML = {"content-type": "text/html"}

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 for a second": {"status": 429, "headers": {"Retry-After": "1"}},
    "429 for milliseconds": {"status": 429, "headers": {"retry-after-ms": "20"}},
    "429 until a date": {"status": 429, "headers": {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}},
    "429 for ages": {"status": 429, "headers": {"Retry-After": "1000000000"}},
    "429 for a negative time": {"status": 429, "headers": {"Retry-After": "-7"}},
    "429 for garbage": {"status": 429, "headers": {"Retry-After": "soon\t<b>"}},
    "500": {"status": 500, "body": HTML, "headers": AS_HTML},
    "502": {"status": 502, "body": HTML, "headers": AS_HTML},
    "503": {"status": 503, "body": HTML, "headers": AS_HTML},
    "504": {"status": 504, "body": HTML, "headers": AS_HTML},
    "reset before the answer": {"drop": True},
    "reset in the body": {"truncate": 100},
    "cut where nothing tells the length": {"raw": UNDELIMITED},
    "half an answer's head": {"raw": b"HTTP/1.1 200 O"},
    "slow loris": {"trickle": 0.05},
    "hang": {"delay": 5.0},
    "malformed JSON": {"body": '{"data": [{"id": '},
    "JSON of another shape": {"body": "[1, 2]"},
    "empty body": {"body": ""},
    "401": {"status": 401},
    "403": {"status": 403},
}
"""By name; each is given to `Sandbox.fail`."""

ROUTES = {
    "listing": r"/jobs\?",
    "events": r"/events\?",
    "checkpoints": r"/checkpoints\?",
    "file": r"/files/[^/]+$",
    "content": r"/content$",
}

ANY_BYTES = frozenset({"malformed JSON", "JSON of another shape"})
"""A file may hold anything: what another route could not answer with is its content."""


def often(*names: str) -> list[ParameterSet]:
    """Return faults that are met when all of them are."""
    return [pytest.param(name, marks=pytest.mark.faults) for name in names]


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TIMEOUT", 0.5)
    monkeypatch.setattr(bounds, "GRACE", 0.3)
    monkeypatch.setattr(pace, "FIRST_PAUSE", 0.01)


def sync() -> SyncReport | FtSyncError:
    try:
        return ft_sync.sync(include_unsuccessful=True)
    except FtSyncError as error:
        return error


def failures(outcome: SyncReport | FtSyncError) -> list[FtSyncError]:
    return [outcome] if isinstance(outcome, FtSyncError) else [failed.error for failed in outcome.failed]


@pytest.fixture
def size() -> int:
    return 3


PLACES = [(name, route) for name in FAULTS for route in ROUTES if route != "content" or name not in ANY_BYTES]
SOME = [
    ("429 for a second", "listing"),
    ("429 for ages", "events"),
    ("500", "checkpoints"),
    ("reset before the answer", "file"),
    ("reset in the body", "content"),
    ("cut where nothing tells the length", "checkpoints"),
    ("slow loris", "content"),
    ("hang", "events"),
    ("malformed JSON", "listing"),
    ("empty body", "file"),
    ("401", "events"),
    ("403", "content"),
]
"""Every kind of fault once, and every route."""


def passes(account: Account, name: str, route: str) -> None:
    """Have one request meet a fault, and see that one more sync makes good what it cost."""
    account.sandbox.fail(ROUTES[route], **FAULTS[name], times=1)
    first = sync()
    # What was asked for again goes unnoticed; a refusal costs a job, and the hint says what to do.
    assert all(error.hint for error in failures(first))
    assert len(failures(first)) <= 1
    account.heal()
    if isinstance(first, FtSyncError) or first.failed:
        assert failures(sync()) == []
    if name == "403" and route in {"file", "content"}:
        # A file that may not be read costs itself alone: the run is complete without it, and says so.
        assert ft_sync.verify(include_unsuccessful=True, repair=True).is_identical
    assert account.wrong() == {}


@pytest.mark.parametrize(("name", "route"), SOME)
def test_a_fault_that_passes_is_made_good_by_one_more_sync(account_of: Account, name: str, route: str) -> None:
    passes(account_of, name, route)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "route"), PLACES)
def test_each_fault_on_each_route_is_made_good_by_one_more_sync(account_of: Account, name: str, route: str) -> None:
    passes(account_of, name, route)


@pytest.mark.parametrize(
    "name", ["500", "hang", *often("429 for ages", "reset before the answer", "malformed JSON", "403")]
)
def test_a_fault_of_one_job_costs_that_job_alone(account_of: Account, name: str) -> None:
    account = account_of
    broken = account.jobs[5]
    account.sandbox.fail(f"{broken}/events", **FAULTS[name])
    first = sync()
    assert not isinstance(first, FtSyncError)
    assert [failed.job_id for failed in first.failed] == [broken]
    assert {thing for thing in account.wrong() if thing.startswith("ftjob-")} <= {broken}
    account.heal()
    assert failures(sync()) == []
    assert account.wrong() == {}


@pytest.mark.parametrize(
    "name", ["503", "401", *often("reset before the answer", "malformed JSON", "hang", "429 for ages")]
)
def test_a_service_that_goes_away_is_given_up_once_and_what_is_done_stays_done(account_of: Account, name: str) -> None:
    account = account_of
    spoilt = "^(?!.*/content)" if name in ANY_BYTES else ""
    account.sandbox.fail(spoilt, **FAULTS[name], after=20)
    first = sync()
    assert not isinstance(first, FtSyncError)
    assert first.failed
    expected = AuthError if name == "401" else FtSyncError
    assert {isinstance(failed.error, expected) and bool(failed.error.hint) for failed in first.failed} == {True}
    assert account.sandbox.count(spoilt) < 20 + 2 * pace.LOST_IN_A_ROW * pace.ATTEMPTS
    done = {done.job_id for done in first.synced}
    assert {thing for thing in account.wrong() if thing.startswith("ftjob-")} & done == set()
    account.heal()
    assert failures(sync()) == []
    assert account.wrong() == {}


@pytest.mark.usefixtures("workspace")
def test_a_service_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    error = sync()
    assert isinstance(error, Unavailable)
    assert "OPENAI_BASE_URL" in str(error.hint)


def test_a_job_that_appears_while_the_jobs_are_listed_is_brought_by_the_next_sync(account_of: Account) -> None:
    account = account_of
    newer = samples.Supervised(id="ftjob-appears", created_at=1_800_000_000, steps=3).build()

    def appears(_: object) -> bool:
        account.sandbox.world.add(newer)
        return False

    account.sandbox.fail(ROUTES["events"], when=appears)
    assert failures(sync()) == []
    account.heal()
    assert failures(sync()) == []
    assert {thing for thing in account.wrong() if not re.match(r"model_metadata:|.*:latest", thing)} == {newer.id}


def test_a_job_that_is_deleted_while_it_is_read_costs_no_other(account_of: Account) -> None:
    account = account_of
    gone = account.jobs[3]
    account.sandbox.fail(f"{gone}/(events|checkpoints)", status=404)
    account.sandbox.world.remove(gone)
    assert failures(sync()) == []
    assert {thing for thing in account.wrong() if thing.startswith("ftjob-")} <= {gone}
