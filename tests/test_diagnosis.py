"""What is checked of the two services and how: in order, one not waiting for the other, none for ever."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.diagnosis import AccountProbes, Check, Concern, Owner, Probe, ServiceProbes, Target, diagnose
from ft_sync.errors import AuthError, ConfigError, Forbidden, NotFound, NotLoggedIn, NotOffered, Unavailable
from ft_sync.models import NO_CHECKPOINTS, NO_CONTENT, NO_EVENTS, FileId, JobStatus
from tests.builders import at, job
from tests.fakes import FakeAccount, FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ft_sync.diagnosis import Finding
    from ft_sync.models import Job

ADA = Owner("ada", "ada", ("ada", "team-rocket"), is_admin=False, server="https://wandb.example")
GROUND = ("configuration", "provider")


def checks(*services: Sequence[Probe], local: Sequence[Probe] = (), seconds: float = 20) -> list[Check]:
    """What comes of the probes, all that they need of the settings being there."""
    grounds = [Probe(name, lambda: "there") for name in GROUND]
    found = list(diagnose([*grounds, *local], lambda: services, seconds=seconds))
    return [check for check in found if check.name not in GROUND]


def states(found: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.state for check in found}


def of_source(source: FakeSource) -> dict[str, Check]:
    found = checks(ServiceProbes(lambda: (source, "a key")).all())
    return {check.name: check for check in found}


def of_account(account: FakeAccount, entity: str | None = None, project: str = "mine") -> dict[str, Check]:
    found = checks(AccountProbes(lambda: (account, Target(entity, project))).all())
    return {check.name: check for check in found}


def failing(error: Exception) -> Callable[[], Finding]:
    def ask() -> Finding:
        raise error

    return ask


def test_each_state_has_its_sentence_and_what_to_do_next() -> None:
    refused = AuthError("the key is refused", hint="use another")
    probes = [
        Probe("good", lambda: "all is well"),
        Probe("doubtful", lambda: Concern("not quite", hint="look into it")),
        Probe("bad", failing(refused)),
        Probe("blocked", lambda: "never asked", ("bad",)),
        Probe("blocked by it", lambda: "never asked", ("blocked",)),
        Probe("after a doubt", lambda: "asked", ("doubtful",)),
    ]
    assert checks(local=probes) == [
        Check("good", "ok", "all is well"),
        Check("doubtful", "warning", "not quite", "look into it"),
        Check("bad", "failed", "the key is refused", "use another", refused),
        Check("blocked", "skipped", "not checked, since bad is not ok"),
        Check("blocked by it", "skipped", "not checked, since blocked is not ok"),
        Check("after a doubt", "ok", "asked"),
    ]


def test_a_bug_in_one_check_takes_no_other_with_it() -> None:
    first, second = checks(local=[Probe("first", failing(KeyError("x"))), Probe("second", lambda: "there")])
    assert (first.state, second.state) == ("failed", "ok")
    assert first.hint == "please report this; --debug shows where"


def test_a_check_that_does_not_return_is_given_up() -> None:
    for_ever = threading.Event()

    def hang() -> Finding:
        for_ever.wait()
        return "too late"

    try:
        stuck, after, other = checks(
            [Probe("stuck", hang), Probe("after", lambda: "x", ("stuck",))],
            [Probe("other", lambda: "there")],
            seconds=1,
        )
    finally:
        for_ever.set()
    assert isinstance(stuck.error, Unavailable)
    assert (stuck.state, after.state, other.state) == ("failed", "skipped", "ok")


def test_the_services_are_asked_at_the_same_time_and_told_in_order() -> None:
    both = threading.Barrier(2, timeout=60)

    def meet() -> Finding:
        both.wait()
        return "met"

    assert states(checks([Probe("one", meet)], [Probe("two", meet)])) == {"one": "ok", "two": "ok"}


def test_what_is_local_is_told_before_a_service_is_asked() -> None:
    asked: list[str] = []

    def note(name: str) -> Callable[[], Finding]:
        def ask() -> Finding:
            asked.append(name)
            return name

        return ask

    found = diagnose([Probe("local", note("local"))], lambda: [[Probe("far", note("far"))]], seconds=60)
    assert next(found).name == "local"
    time.sleep(0.05)
    assert asked == ["local"]
    assert [check.name for check in found] == ["far"]


def test_a_service_that_has_everything_is_ok() -> None:
    found = of_source(FakeSource([job()]))
    assert set(states(list(found.values())).values()) == {"ok"}
    assert found["jobs"].message == "the service answers: 1 job"
    assert found["file-content"].message == "file-result was downloaded: 28 bytes"


def test_a_whole_page_may_not_be_all() -> None:
    source = FakeSource([job(f"ftjob-{number}") for number in range(150)])
    assert of_source(source)["jobs"].message == "the service answers: 100 or more jobs"


def test_without_jobs_what_belongs_to_them_is_said_to_be_unchecked() -> None:
    found = of_source(FakeSource())
    assert found["jobs"].message == "the service answers: no jobs"
    assert [found[name].message for name in ("file-content", "events", "checkpoints")] == [
        "not checked: no job has a result file",
        "not checked: there is no job",
        "not checked: no job has succeeded",
    ]


def test_the_content_is_that_of_the_newest_job_that_has_any() -> None:
    running: dict[str, object] = {"status": JobStatus("running"), "result_files": (), "fine_tuned_model": None}
    jobs: list[Job] = [
        job("ftjob-old", created_at=at(1), result_files=(FileId("file-old"),)),
        job("ftjob-new", created_at=at(2), result_files=(FileId("file-new"),)),
        job("ftjob-running", created_at=at(3), **running),
    ]
    source = FakeSource(jobs)
    assert of_source(source)["file-content"].state == "ok"
    assert [words for words in source.asked if words.startswith("content")] == ["content file-new"]


def test_a_file_too_large_to_read_whole_is_a_file_that_can_be_had() -> None:
    source = FakeSource([job()])
    source.results[FileId("file-result")] = bytes(2_000_000)
    assert of_source(source)["file-content"].message == "file-result can be downloaded"


def test_what_a_service_does_not_offer_is_a_warning() -> None:
    source = FakeSource([job()])
    source.broken |= {"ftjob-1": NotOffered("no such route"), "file-result": NotOffered("no such route")}
    found = of_source(source)
    assert [(found[name].state, found[name].message) for name in ("file-content", "events", "checkpoints")] == [
        ("warning", NO_CONTENT),
        ("warning", NO_EVENTS),
        ("warning", NO_CHECKPOINTS),
    ]


def test_a_file_that_is_gone_is_a_warning_and_one_that_may_not_be_read_a_failure() -> None:
    source = FakeSource([job()])
    source.broken["file-result"] = NotFound("there is no file-result")
    assert of_source(source)["file-content"].state == "warning"
    source.broken["file-result"] = Forbidden("not for this key")
    assert of_source(source)["file-content"].state == "failed"


@pytest.mark.parametrize("error", [AuthError("refused"), Unavailable("away")])
def test_a_service_that_does_not_list_its_jobs_is_asked_for_nothing_else(error: Exception) -> None:
    source = FakeSource([job()])
    source.broken["jobs"] = error
    found = of_source(source)
    assert states(list(found.values())) == {
        "openai-key": "ok",
        "jobs": "failed",
        "file-content": "skipped",
        "events": "skipped",
        "checkpoints": "skipped",
    }
    assert source.asked == ["jobs"]


def test_the_accounts_own_entity_is_the_default() -> None:
    found = of_account(FakeAccount(ADA, ["ada/mine"]))
    assert {name: check.message for name, check in found.items()} == {
        "wandb-login": "there is a key: WANDB_API_KEY",
        "wandb-server": "https://wandb.example answers: the key is ada's",
        "wandb-entity": "ada is the account's own",
        "wandb-project": "ada/mine is there",
    }


def test_what_only_writing_shows_is_said_to_be_unchecked() -> None:
    found = of_account(FakeAccount(ADA), "team-rocket")
    assert (
        found["wandb-entity"].message == "team-rocket is a team of ada's; not checked: whether the key may write there"
    )
    assert found["wandb-project"].message == "the first sync makes team-rocket/mine; not checked: whether the key may"


def test_an_entity_that_one_does_not_belong_to_is_a_failure_that_names_those_one_does() -> None:
    found = of_account(FakeAccount(ADA), "nobody")
    assert isinstance(found["wandb-entity"].error, ConfigError)
    assert found["wandb-entity"].hint == "--entity ada or team-rocket"
    assert found["wandb-project"].state == "skipped"


def test_an_administrator_may_write_where_others_may_not() -> None:
    admin = Owner("root", "root", (), is_admin=True, server="https://wandb.example")
    assert of_account(FakeAccount(admin), "nobody")["wandb-entity"].message.startswith("not checked: ")


def test_an_account_without_an_entity_needs_one_to_be_named() -> None:
    nobody = Owner("bot", None, ("team-rocket",), is_admin=False, server="https://wandb.example")
    assert of_account(FakeAccount(nobody))["wandb-entity"].state == "failed"
    assert of_account(FakeAccount(nobody), "team-rocket")["wandb-entity"].state == "ok"


@pytest.mark.parametrize(
    ("what", "error", "failed"),
    [
        ("login", NotLoggedIn("no key"), "wandb-login"),
        ("owner", Unavailable("away"), "wandb-server"),
        ("project", AuthError("no"), "wandb-project"),
    ],
)
def test_after_a_failure_the_rest_is_left_alone(what: str, error: Exception, failed: str) -> None:
    account = FakeAccount(ADA)
    account.broken[what] = error
    found = states(list(of_account(account).values()))
    names = list(found)
    before, after = names[: names.index(failed)], names[names.index(failed) + 1 :]
    assert found[failed] == "failed"
    assert all(found[name] == "ok" for name in before)
    assert all(found[name] == "skipped" for name in after)
