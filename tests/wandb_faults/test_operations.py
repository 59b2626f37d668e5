"""Each fault of the W&B side on each operation, in the middle of a sync of ten jobs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import wandb

import ft_sync
from ft_sync import arrival
from ft_sync.cli import exits
from ft_sync.errors import AuthError, FtSyncError, SinkRejected
from ft_sync.sinks import gate, online

if TYPE_CHECKING:
    from collections.abc import Callable

    from ft_sync.models import SyncReport
    from tests.faults.conftest import Account
    from tests.wandb_backend.server import Request

HTML: dict[str, Any] = {"body": "<html><body>no</body></html>", "headers": {"content-type": "text/html"}}

FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in (400, 401, 403, 404, 409, 500, 502, 503)},
    **{f"{status} as HTML": {"status": status, **HTML} for status in (403, 502)},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "dropped connection": {"drop": True},
    "lost answer": {"lost": True},
}
"""By name; each is given to `WandbBackend.fail`."""

OPERATIONS = (
    "Viewer",
    "ServerFeaturesQuery",
    "GetViewer",
    "GetProject",
    "Run",
    "Runs",
    "RunResumeStatus",
    "UpsertBucket",
    "CreateRunFiles",
    "file_stream",
    "ArtifactType",
    "CreateArtifact",
    "CreateArtifactFiles",
    "CreateArtifactManifest",
    "CommitArtifact",
    "UseArtifact",
    "ArtifactByID",
    "ArtifactMembershipByName",
    "ProjectArtifacts",
    "AddAliases",
    "UpdateArtifact",
    "upload",
)

SAMPLE = [
    ("400", "CommitArtifact"),
    ("403", "RunResumeStatus"),
    ("403", "CreateRunFiles"),
    ("502 as HTML", "UpsertBucket"),
    ("lost answer", "file_stream"),
    ("lost answer", "UpsertBucket"),
]


@pytest.fixture
def size() -> int:
    return 3


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "PAUSES", (0.1, 0.2))
    monkeypatch.setattr(online, "PAUSES", (0.1, 0.2))


def sync() -> SyncReport | FtSyncError:
    try:
        return ft_sync.sync(include_unsuccessful=True)
    except FtSyncError as error:
        return error


def failures(outcome: SyncReport | FtSyncError) -> list[FtSyncError]:
    return [outcome] if isinstance(outcome, FtSyncError) else [failed.error for failed in outcome.failed]


def exit_code(outcome: SyncReport | FtSyncError) -> int:
    return exits.ending(outcome).exit_code if isinstance(outcome, FtSyncError) else exits.of_report(outcome)


def sync_again() -> SyncReport | FtSyncError:
    """Sync as a new process does, with all faults gone."""
    wandb.teardown()
    return sync()


def made_good(account: Account, name: str, operation: str) -> None:
    account.backend.fail(operation, **FAULTS[name], times=1)
    first = sync()
    # What was asked for again goes unnoticed; a refusal costs a job.
    assert all(error.hint for error in failures(first))
    if not failures(first):
        assert account.wrong() == {}
        return
    account.heal()
    assert failures(sync_again()) == []
    assert account.wrong() == {}


@pytest.mark.parametrize(("name", "operation"), SAMPLE)
def test_a_fault_that_passes_is_made_good_by_one_more_sync(account_of: Account, name: str, operation: str) -> None:
    made_good(account_of, name, operation)


@pytest.mark.faults
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", FAULTS)
def test_any_fault_that_passes_is_made_good_by_one_more_sync(account_of: Account, name: str, operation: str) -> None:
    made_good(account_of, name, operation)


@pytest.mark.parametrize("body", ['{"errors": [{"message": "permission denied"}]}', HTML["body"]])
def test_a_key_that_may_only_read_is_refused_as_such_and_not_once_a_job(
    account_of: Account, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOST_IN_A_ROW", 2)  # there are not so many jobs
    refused = account_of.backend.fail("UpsertBucket", status=403, body=body)
    first = sync()
    assert exit_code(first) == exits.NOT_ALLOWED
    assert {type(error) for error in failures(first)} == {AuthError}
    assert refused.hits < len(account_of.jobs)
    account_of.heal()
    assert failures(sync_again()) == []
    assert account_of.wrong() == {}


@pytest.mark.parametrize("operation", ["CommitArtifact", "file_stream"])
def test_what_is_refused_to_every_run_is_noticed_and_brought_by_one_more_sync(
    account_of: Account, operation: str
) -> None:
    account_of.backend.fail(operation, status=403)
    first = sync()
    assert len(failures(first)) == len(account_of.jobs)
    account_of.heal()
    assert failures(sync_again()) == []
    assert account_of.wrong() == {}


@pytest.mark.parametrize(("operation", "told"), [("file_stream", SinkRejected), ("UseArtifact", AuthError)])
def test_a_refusal_to_one_run_costs_that_run_alone(
    account_of: Account, operation: str, told: type[FtSyncError]
) -> None:
    broken = account_of.jobs[5]
    account_of.backend.latency = 0.02  # so that others wait for the file that it brings
    account_of.backend.fail(operation, status=403, when=lambda request: request.run == broken)
    first = sync()
    assert [type(error) for error in failures(first)] == [told]
    assert {name for name in account_of.wrong() if name.startswith("ftjob-")} <= {broken}
    account_of.heal()
    assert failures(sync_again()) == []
    assert account_of.wrong() == {}


def in_the_middle(account: Account) -> Callable[[Request], bool]:
    """From the first run on that is begun."""
    return lambda _: account.backend.count("file_stream") > 0


def test_a_wandb_that_limits_the_rate_for_a_while_fails_nobody(account_of: Account) -> None:
    limited = account_of.backend.fail("*", status=429, headers={"Retry-After": "1"}, when=in_the_middle(account_of))
    is_over = threading.Timer(10, account_of.heal)
    is_over.start()
    try:
        assert failures(sync()) == []
    finally:
        is_over.cancel()
    assert limited.hits
    assert account_of.wrong() == {}
