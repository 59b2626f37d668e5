"""The OpenAI source through the real client over HTTP: paging, reading, and what each refusal becomes."""

from __future__ import annotations

import hashlib
import inspect
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from ft_sync.errors import (
    AuthError,
    BadData,
    Forbidden,
    FtSyncError,
    NotFound,
    NotLoggedIn,
    NotOffered,
    Refused,
    Unavailable,
)
from ft_sync.models import FileId, JobError, JobId
from ft_sync.sandbox import API_KEY, Sandbox, World, samples, serve
from ft_sync.snapshot import snapshot
from ft_sync.sources import bounds
from ft_sync.sources.objects import checkpoint_from, event_from, job_from
from ft_sync.sources.openai import (
    TRANSLATIONS,
    OpenAISource,
    client,
    translate,
)
from ft_sync.sources.pace import Pace
from ft_sync.sources.service import OPENAI, service_of
from tests.builders import readable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def source(sandbox: Sandbox) -> Iterator[OpenAISource]:
    with openai.OpenAI(base_url=sandbox.url, api_key=API_KEY, max_retries=0, timeout=60) as client:
        yield OpenAISource(client, Pace(FakeClock(), lambda _: None))


def full(world: World, count: int) -> list[str]:
    """Fill the world with jobs and return their ids, newest first."""
    world.add(*samples.many(count))
    return [job.id for job in world.jobs]


def test_all_jobs_of_all_pages_come_newest_first(source: OpenAISource, world: World) -> None:
    ids = full(world, 230)
    assert [job.id for job in readable(source.jobs())] == ids


def test_no_page_is_asked_for_before_it_is_needed(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    full(world, 230)
    jobs = source.jobs()
    assert sandbox.requests == []
    next(jobs)
    assert len(sandbox.requests) == 1


def test_a_limit_asks_for_no_more_than_that(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    ids = full(world, 45)
    assert [job.id for job in readable(source.jobs(limit=5))] == ids[:5]
    assert [request.query for request in sandbox.requests] == ["limit=5"]


def test_a_job_that_did_not_fail_has_no_error(source: OpenAISource, world: World) -> None:
    (job_id,) = full(world, 1)
    assert source.job(JobId(job_id)).error is None


def test_a_failed_job_says_why() -> None:
    job = job_from({"id": "ftjob-1", "error": {"code": "invalid", "message": "line 17", "param": "training_file"}})
    assert job.error == JobError("invalid", "line 17", "training_file")


def test_hyperparameters_below_the_method_win_over_those_of_the_job() -> None:
    job = job_from(
        {
            "id": "ftjob-1",
            "hyperparameters": {"n_epochs": "auto", "seed": 1},
            "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3, "beta": 0.1}}},
        }
    )
    assert (job.method, job.hyperparameters) == ("dpo", {"n_epochs": 3, "seed": 1, "beta": 0.1})


@pytest.mark.parametrize(
    ("served", "status"),
    [("Succeeded", "succeeded"), ("canceled", "cancelled"), ("pausing", "pausing"), (None, "unknown")],
)
def test_a_status_has_openais_spelling(served: object, status: str) -> None:
    assert job_from({"id": "x", "status": served}).status == status


@pytest.mark.parametrize("undecided", [None, "auto", -1])
def test_a_hyperparameter_that_is_known_in_one_place_is_known(undecided: object) -> None:
    below = {"hyperparameters": {"n_epochs": undecided, "beta": undecided}}
    job = job_from({"id": "x", "hyperparameters": {"n_epochs": 3}, "method": {"type": "dpo", "dpo": below}})
    assert job.hyperparameters == {"n_epochs": 3, "beta": undecided}


def test_an_error_that_is_told_in_one_sentence_is_kept() -> None:
    assert job_from({"id": "x", "error": "Out of quota."}).error == JobError(None, "Out of quota.")


def test_a_whole_number_may_be_served_as_a_float() -> None:
    assert job_from({"id": "x", "trained_tokens": 100.0, "seed": 1.5}).trained_tokens == 100
    assert checkpoint_from({"step_number": 10.0}).step == 10


def test_a_checkpoint_tells_its_step_in_its_metrics_too() -> None:
    assert checkpoint_from({"metrics": {"step": 10}}).step == 10


def test_a_result_file_without_an_id_is_none() -> None:
    assert job_from({"id": "x", "result_files": ["", None, "file-1"]}).result_files == ("file-1",)


@pytest.mark.parametrize("absurd", [None, [], {}, "text", -1, 1e300, True, {"type": ["x"]}])
def test_fields_of_another_type_count_as_unknown(absurd: object) -> None:
    names = inspect.signature(type(job_from({"id": "x"}))).parameters
    raw = {**dict.fromkeys(names, absurd), "id": "ftjob-1", "model": None, "training_file": absurd, "error": absurd}
    job = job_from(raw)
    assert job.id == "ftjob-1"
    assert job.created_at is None
    event_from({"id": absurd, "created_at": absurd, "data": absurd, "level": absurd})


def test_a_snapshot_holds_events_checkpoints_results_and_file_descriptions(source: OpenAISource, world: World) -> None:
    (sample,) = [job for job in samples.finished_jobs() if job.id == "ftjob-1LdB563SfkhvH8pUo541MPmi"]
    world.add(sample)
    found = snapshot(source, source.job(JobId(sample.id)))
    assert len(found.events) == len(sample.events)
    times = [event.created_at for event in found.events if event.created_at]
    assert times == sorted(times)
    assert len(found.checkpoints) == 3
    assert len(found.result_files) == 1
    assert [file.split for file in found.training_files] == ["train", "valid"]
    assert [file.filename for file in found.training_files] == ["support.jsonl", "support-valid.jsonl"]
    assert found.notes == ()


def test_only_events_after_a_known_one_are_returned(source: OpenAISource, world: World) -> None:
    (job_id,) = full(world, 1)
    events = tuple(source.events(JobId(job_id)))
    assert tuple(source.events(JobId(job_id), after=events[-3].id)) == events[-2:]


def test_a_service_without_events_and_checkpoints_still_gives_the_job(
    source: OpenAISource, world: World, sandbox: Sandbox
) -> None:
    (job_id,) = full(world, 1)
    sandbox.fail(r"/(events|checkpoints)$", status=404, body={"detail": "Not Found"})
    found = snapshot(source, source.job(JobId(job_id)))
    assert found.notes == ("this service keeps no events", "this service keeps no checkpoints")
    assert found.result_files


NO_ROUTE = [
    (404, {"detail": "Not Found"}),
    (404, "<html>404</html>"),
    (404, {"error": {"message": "Invalid URL (GET /v1/fine_tuning/jobs/x/events)", "code": "unknown_url"}}),
    (405, {"detail": "Method Not Allowed"}),
    (501, {"error": {"message": "Not implemented"}}),
    (500, {"error": {"message": "9 validation errors for LiteLLMFineTuningJob\nid\n  Input should be"}}),
]
"""How services answer for a route that they do not have."""


@pytest.mark.parametrize(("status", "body"), NO_ROUTE)
def test_a_route_that_is_missing_is_asked_for_no_other_job(
    source: OpenAISource, world: World, sandbox: Sandbox, status: int, body: dict[str, object] | str
) -> None:
    first, second = full(world, 2)
    sandbox.fail("/events", status=status, body=body)
    with pytest.raises(NotOffered, match="no route for the events of"):
        source.events(JobId(first))
    asked = sandbox.count("/events")
    with pytest.raises(NotOffered, match=second):
        source.events(JobId(second))
    assert sandbox.count("/events") == asked


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": "Could not find fine tune: x"}}, {"detail": "Job x not found"}, {"error": {"code": "404"}}],
)
def test_an_answer_about_one_job_tells_nothing_of_the_others(
    source: OpenAISource, world: World, sandbox: Sandbox, body: dict[str, object]
) -> None:
    first, second = full(world, 2)
    sandbox.fail(f"{first}/events", status=404, body={"error": {"message": "Resource not found"}} | body)
    with pytest.raises(NotFound):
        source.events(JobId(first))
    assert source.events(JobId(second))


def test_an_id_that_is_no_word_in_a_path_tells_nothing_of_the_others(
    source: OpenAISource, world: World, sandbox: Sandbox
) -> None:
    (job_id,) = full(world, 1)
    assert sandbox.requests == []
    with pytest.raises(NotFound):
        source.job(JobId("no/such"))
    assert source.job(JobId(job_id)).id == job_id


def test_a_route_that_has_answered_is_there(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    first, second = full(world, 2)
    source.events(JobId(first))
    sandbox.fail(f"{second}/events", status=404, body={"detail": "Not Found"}, times=1)
    with pytest.raises(NotFound):
        source.events(JobId(second))
    assert source.events(JobId(second))


def test_a_file_that_is_gone_does_not_stand_for_all_files(
    source: OpenAISource, world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    gone, there = (samples.dataset(name, b"{}\n") for name in ("gone.jsonl", "there.jsonl"))
    world.add(gone, there)
    sandbox.fail(f"/files/{gone.id}/content", status=404, body={"detail": "Not Found"})
    with pytest.raises(NotFound):
        source.download(FileId(gone.id), tmp_path / "gone")
    assert source.download(FileId(there.id), tmp_path / "there").size == 3


def test_a_service_without_the_content_of_files_is_asked_for_no_other(
    source: OpenAISource, world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    (job_id,) = full(world, 1)
    job = source.job(JobId(job_id))
    sandbox.fail("/content$", status=501)
    found = snapshot(source, job)
    assert found.missing == {job.result_files[0]: "this service does not give the content of files"}
    asked = sandbox.count("/content$")
    with pytest.raises(NotOffered):
        source.download(job.training_file or FileId(""), tmp_path / "content")
    assert sandbox.count("/content$") == asked


def test_a_wrong_address_is_told_as_such(source: OpenAISource, sandbox: Sandbox) -> None:
    sandbox.fail("/fine_tuning/jobs", status=404, body="404 page not found")
    with pytest.raises(NotOffered, match="no route for the list of jobs") as raised:
        list(source.jobs())
    assert "OPENAI_BASE_URL" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "checkpoint.ZIP"])
def test_a_small_file_of_weights_is_not_read(source: OpenAISource, world: World, sandbox: Sandbox, name: str) -> None:
    (job_id,) = full(world, 1)
    job = source.job(JobId(job_id))
    sandbox.fail(f"/files/{job.result_files[0]}$", status=200, body={"id": job.result_files[0], "filename": name})
    found = snapshot(source, job)
    assert (found.result_files, len(found.notes)) == ((), 1)
    assert sandbox.count(f"/files/{job.result_files[0]}/content") == 0


def test_fields_that_are_not_of_their_kind_are_a_note(source: OpenAISource) -> None:
    strange = job_from({"id": "ftjob-1", "model": [1], "seed": "7", "finished_at": None, "error": {}})
    assert snapshot(source, strange).notes[0] == "fields left out, whose values are not of their kind: model, seed"


def test_a_result_file_that_is_gone_is_a_note(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    (job_id,) = full(world, 1)
    job = source.job(JobId(job_id))
    sandbox.fail(f"/files/{job.result_files[0]}", status=404)
    found = snapshot(source, job)
    assert found.result_files == ()
    assert list(found.missing) == [job.result_files[0]]


def test_what_describes_a_training_file_that_is_gone_is_asked_for_and_is_no_note(
    source: OpenAISource, world: World
) -> None:
    (job_id,) = full(world, 1)
    job = source.job(JobId(job_id))
    world.remove(str(job.training_file))
    known = snapshot(source, job, lambda file: replace(file, filename="kept.jsonl"))
    assert known.training_files[0].filename == "kept.jsonl"
    assert known.notes == ()
    unknown = snapshot(source, job, lambda _: None)
    assert unknown.training_files[0].filename is None
    assert "could not be described" in unknown.notes[0]


def test_a_result_file_as_large_as_weights_is_not_read(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    (job_id,) = full(world, 1)
    job = source.job(JobId(job_id))
    sandbox.fail(f"/files/{job.result_files[0]}$", status=200, body={"id": job.result_files[0], "bytes": 5_000_000_000})
    found = snapshot(source, job)
    assert found.result_files == ()
    assert sandbox.count(f"/files/{job.result_files[0]}/content") == 0


def test_a_download_reports_size_and_hash_of_the_served_bytes(
    source: OpenAISource, world: World, tmp_path: Path
) -> None:
    content = '{"prompt": "é", "completion": "\u2028"}\n'.encode() * 5000
    file = samples.dataset("big.jsonl", content)
    world.add(file)
    download = source.download(FileId(file.id), tmp_path / "content")
    assert (tmp_path / "content").read_bytes() == content
    assert (download.size, download.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_download_that_breaks_off_is_unavailable(
    source: OpenAISource, world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    file = samples.dataset("big.jsonl", b"x" * 200_000)
    world.add(file)
    sandbox.fail(f"/files/{file.id}/content", truncate=1000)
    with pytest.raises(Unavailable, match=file.id):
        source.download(FileId(file.id), tmp_path / "content")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Refused),
        (401, AuthError),
        (403, Forbidden),
        (404, NotFound),
        (409, Refused),
        (418, Refused),
        (422, Refused),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_each_status_becomes_one_error_that_says_what_to_do(
    source: OpenAISource, sandbox: Sandbox, status: int, error: type[FtSyncError]
) -> None:
    sandbox.fail("/fine_tuning/jobs", status=status, body="<html>no</html>")
    with pytest.raises(error, match="ftjob-1") as raised:
        source.job(JobId("ftjob-1"))
    assert type(raised.value) is error
    assert raised.value.hint


@pytest.mark.parametrize("body", ["not json", "[1]", "null", '"text"'])
def test_an_answer_that_is_no_json_object_is_bad_data(source: OpenAISource, sandbox: Sandbox, body: str) -> None:
    sandbox.fail("/fine_tuning/jobs", status=200, body=body, headers={"content-type": "application/json"})
    with pytest.raises(BadData):
        source.job(JobId("ftjob-1"))


@pytest.mark.parametrize("page", [{}, {"data": None}, {"data": {"0": {"id": "ftjob-1"}}}])
def test_a_page_that_is_no_list_is_bad_data(source: OpenAISource, sandbox: Sandbox, page: dict[str, object]) -> None:
    sandbox.fail("/fine_tuning/jobs", status=200, body=page)
    with pytest.raises(BadData):
        list(source.jobs())


def test_a_service_that_ignores_the_cursor_gives_each_job_once(source: OpenAISource, sandbox: Sandbox) -> None:
    sandbox.fail("/fine_tuning/jobs", status=200, body={"data": [{"id": "ftjob-1"}], "has_more": True})
    assert len(list(source.jobs())) == 1
    assert len(sandbox.requests) < 10


def test_a_page_that_shares_entries_with_the_one_before_doubles_nothing(
    source: OpenAISource, sandbox: Sandbox, world: World
) -> None:
    ids = full(world, 130)
    jobs = [job.job for job in world.jobs]
    sandbox.fail("after=", body={"data": jobs[90:], "has_more": False})
    assert [job.id for job in readable(source.jobs())] == ids


def test_a_list_goes_on_when_the_entry_to_go_on_from_is_deleted(source: OpenAISource, world: World) -> None:
    ids = full(world, 250)
    jobs = readable(source.jobs())
    found = [next(jobs).id for _ in range(50)]
    for deleted in ids[98:100]:
        world.remove(deleted)
    found += [job.id for job in jobs]
    assert found == ids


@pytest.mark.parametrize("has_more", [True, False])
def test_a_page_that_is_empty_once_ends_no_list(
    source: OpenAISource, sandbox: Sandbox, world: World, has_more: bool
) -> None:
    ids = full(world, 130)
    sandbox.fail("after=", body={"data": [], "has_more": has_more}, times=1)
    assert [job.id for job in readable(source.jobs())] == ids


def test_an_empty_list_that_says_it_goes_on_is_empty(source: OpenAISource, sandbox: Sandbox) -> None:
    sandbox.fail("/jobs", body={"data": [], "has_more": True})
    assert list(source.jobs()) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"body": "{ half"},
        {"body": ""},
        {"body": "<html>", "headers": {"content-type": "text/html"}},
        {"body": "[1]"},
        {"truncate": 10},
        {"raw": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"data": ['},
        {"status": 302, "headers": {"Location": "/v1/fine_tuning/jobs?limit=100"}, "body": ""},
    ],
)
def test_an_answer_that_is_garbled_once_is_asked_for_again(
    source: OpenAISource, sandbox: Sandbox, world: World, fault: dict[str, Any]
) -> None:
    ids = full(world, 3)
    sandbox.fail("/jobs", **fault, times=1)
    assert [job.id for job in readable(source.jobs())] == ids


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_ends_with_its_connection_is_taken_only_whole(
    source: OpenAISource, sandbox: Sandbox, world: World, tmp_path: Path, whole: bool
) -> None:
    file = samples.dataset("big.jsonl", b"x" * 5000)
    world.add(file)
    source.file(FileId(file.id))
    size = 5000 if whole else 4000
    sandbox.fail("/content", raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * size, times=1)
    assert source.download(FileId(file.id), tmp_path / "content").size == 5000
    assert sandbox.count("/content") == (1 if whole else 2)


def test_a_body_that_comes_a_byte_at_a_time_is_given_up(
    source: OpenAISource, sandbox: Sandbox, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "GRACE", 0.1)
    full(world, 1)
    sandbox.fail("/jobs", trickle=0.02)
    with pytest.raises(Unavailable, match="took too long"):
        source.job(JobId("ftjob-1"))


def test_where_nothing_tells_of_more_pages_a_full_one_is_not_taken_for_the_last() -> None:
    world = World(samples.many(130))
    with (
        serve(world, dialect="bare") as sandbox,
        openai.OpenAI(base_url=sandbox.url, api_key=API_KEY) as of_brief_pages,
    ):
        source = OpenAISource(of_brief_pages, Pace(FakeClock(), lambda _: None))
        assert [job.id for job in readable(source.jobs())] == [job.id for job in world.jobs]


def test_entries_without_ids_are_a_page_of_their_own(source: OpenAISource, world: World, sandbox: Sandbox) -> None:
    (job_id,) = full(world, 1)
    sandbox.fail("/events", status=200, body={"data": [{"message": "a"}, {"message": "b"}]})
    assert [event.message for event in source.events(JobId(job_id))] == ["b", "a"]


def test_a_dropped_connection_and_a_hang_are_unavailable(sandbox: Sandbox) -> None:
    sandbox.fail("/fine_tuning/jobs/dropped", drop=True)
    sandbox.fail("/fine_tuning/jobs/hangs", delay=0.6)
    with openai.OpenAI(base_url=sandbox.url, api_key=API_KEY, max_retries=0, timeout=0.2) as client:
        for job_id in ("dropped", "hangs"):
            with pytest.raises(Unavailable):
                OpenAISource(client, Pace(FakeClock(), lambda _: None)).job(JobId(job_id))


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_no_variables")
def test_without_a_key_there_is_nothing_to_ask_with() -> None:
    with pytest.raises(NotLoggedIn, match="OPENAI_API_KEY"):
        client()


@pytest.mark.usefixtures("_no_variables")
def test_organization_and_project_are_sent(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"OPENAI_API_KEY": API_KEY, "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj_1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with client(sandbox.url) as made:
        list(OpenAISource(made, Pace(FakeClock(), lambda _: None)).jobs())
    (request,) = sandbox.requests
    assert (request.headers["openai-organization"], request.headers["openai-project"]) == ("org-1", "proj_1")


@pytest.mark.parametrize("base_url", ["https://us.api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_a_data_residency_host_is_asked_and_called_by_openais_name(
    base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    with client(base_url) as made:
        assert str(made.base_url) == f"{base_url}/"
        assert service_of(made) == OPENAI


def test_what_follows_a_question_mark_in_the_base_url_goes_with_every_request(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    with client(f"{sandbox.url}?custom_llm_provider=openai&team=a%20b") as made:
        list(OpenAISource(made, Pace(FakeClock(), lambda _: None)).jobs(limit=5))
    (request,) = sandbox.requests
    assert request.path == "/v1/fine_tuning/jobs"
    assert sorted(request.query.split("&")) == ["custom_llm_provider=openai", "limit=5", "team=a b"]


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "OpenAI"),
        ("https://api.tokenfactory.nebius.com/v1", "api.tokenfactory.nebius.com"),
        ("http://localhost:4000/v1", "localhost"),
        ("https://notopenai.com/v1", "notopenai.com"),
        ("https://acme.openai.azure.com/openai/v1", "Azure OpenAI"),
    ],
)
def test_errors_name_the_service_that_was_asked(base_url: str, name: str) -> None:
    with openai.OpenAI(base_url=base_url, api_key=API_KEY) as made:
        error = openai.APITimeoutError(httpx2.Request("GET", base_url))
        assert translate(error, "job x", service_of(made)).message == f"{name} took too long to answer for job x"


def test_every_error_class_of_the_sdk_that_a_request_can_raise_is_translated() -> None:
    handled = tuple(theirs for theirs, *_ in TRANSLATIONS)
    of_requests = [
        theirs
        for theirs in list(vars(openai).values())
        if isinstance(theirs, type) and issubclass(theirs, openai.APIError) and theirs is not openai.APIError
    ]
    assert of_requests
    assert [theirs.__name__ for theirs in of_requests if not issubclass(theirs, handled)] == []


def test_an_error_unknown_to_the_table_is_unavailable() -> None:
    request = httpx2.Request("GET", "http://127.0.0.1/")
    assert isinstance(translate(openai.APIError("odd", request, body=None), "the jobs"), Unavailable)
