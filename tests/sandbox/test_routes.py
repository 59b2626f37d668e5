"""The routes, asked through the real client over loopback."""

import base64
import json

import openai
import pytest

from ft_sync.sandbox import Sandbox, samples

JOB_COUNT = 8


def _succeeded(server: Sandbox, suffix: str) -> str:
    return next(job.id for job in server.world.jobs if job.job.get("user_provided_suffix") == suffix)


def test_jobs_are_listed_newest_first(client: openai.OpenAI) -> None:
    times = [job.created_at for job in client.fine_tuning.jobs.list()]
    assert len(times) == JOB_COUNT
    assert times == sorted(times, reverse=True)


def test_a_page_has_twenty_jobs_by_default(server: Sandbox, client: openai.OpenAI) -> None:
    server.world.add(*samples.many(45))
    page = client.fine_tuning.jobs.list()
    assert (len(page.data), page.has_more) == (20, True)


def test_paging_visits_every_job_once(server: Sandbox, client: openai.OpenAI) -> None:
    server.world.add(*samples.many(45))
    ids = [job.id for job in client.fine_tuning.jobs.list(limit=10)]
    assert ids == [job.id for job in server.world.jobs]
    assert server.count(r"/jobs\?") == 6


def test_the_last_full_page_has_no_more(server: Sandbox, client: openai.OpenAI) -> None:
    page = client.fine_tuning.jobs.list(limit=JOB_COUNT)
    assert page.has_more is False
    assert page.model_extra == {
        "object": "list",
        "first_id": server.world.jobs[0].id,
        "last_id": server.world.jobs[-1].id,
    }


@pytest.mark.parametrize("limit", [0, 101])
def test_a_limit_out_of_range_is_refused(client: openai.OpenAI, limit: int) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.list(limit=limit)
    assert refused.value.param == "limit"


def test_a_limit_that_is_no_number_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'ten'"):
        client.fine_tuning.jobs.list(extra_query={"limit": "ten"})


def test_an_unknown_cursor_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.list(after="ftjob-nobody")
    assert refused.value.param == "after"


def test_metadata_selects_jobs(client: openai.OpenAI) -> None:
    found = client.fine_tuning.jobs.list(metadata={"team": "workshop", "stage": "production"})
    assert [job.metadata for job in found] == [{"team": "workshop", "stage": "production"}]


def test_a_retrieved_job_equals_the_listed_one(client: openai.OpenAI) -> None:
    for listed in client.fine_tuning.jobs.list():
        assert client.fine_tuning.jobs.retrieve(listed.id) == listed


def test_an_unknown_job_is_not_found(client: openai.OpenAI) -> None:
    for ask in (
        client.fine_tuning.jobs.retrieve,
        client.fine_tuning.jobs.list_events,
        client.fine_tuning.jobs.checkpoints.list,
    ):
        with pytest.raises(openai.NotFoundError) as missing:
            ask("ftjob-nobody")
        assert missing.value.code == "fine_tune_not_found"


def test_an_unknown_file_is_not_found(client: openai.OpenAI) -> None:
    for ask in (client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError, match="No such File object: file-none"):
            ask("file-none")


def test_an_unknown_route_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.get("/evals", cast_to=object)
    assert missing.value.code == "unknown_url"


def test_a_wrong_key_is_refused(server: Sandbox) -> None:
    with (
        openai.OpenAI(base_url=server.url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.fine_tuning.jobs.list()
    assert refused.value.code == "invalid_api_key"


def test_events_come_newest_first_over_all_pages(server: Sandbox, client: openai.OpenAI) -> None:
    job_id = _succeeded(server, "support")
    events = list(client.fine_tuning.jobs.list_events(job_id))
    job = server.world.job(job_id)
    assert job is not None
    assert [event.to_dict() for event in events] == list(job.events)[::-1]


def test_there_is_a_metrics_event_for_every_step(server: Sandbox, client: openai.OpenAI) -> None:
    events = client.fine_tuning.jobs.list_events(_succeeded(server, "stock"), limit=100)
    steps = [event.data["step"] for event in events if event.type == "metrics" and isinstance(event.data, dict)]
    assert steps == list(range(60, 0, -1))


def test_checkpoints_come_newest_first(server: Sandbox, client: openai.OpenAI) -> None:
    checkpoints = client.fine_tuning.jobs.checkpoints.list(_succeeded(server, "support"))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [90, 60, 30]
    assert checkpoints.data[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-90")


def test_a_newer_result_file_is_base64(server: Sandbox, client: openai.OpenAI) -> None:
    (file_id,) = client.fine_tuning.jobs.retrieve(_succeeded(server, "support")).result_files
    content = client.files.content(file_id).read()
    assert base64.b64decode(content, validate=True).startswith(b"step,train_loss,train_accuracy,")
    assert client.files.retrieve(file_id).bytes == len(content)


def test_an_older_result_file_is_plain_text(server: Sandbox, client: openai.OpenAI) -> None:
    oldest = server.world.jobs[-1]
    assert oldest.id.startswith("ft-")
    content = client.files.content(oldest.job["result_files"][0]).read()
    assert content.startswith(b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,")


def test_content_streams_with_its_length(server: Sandbox, client: openai.OpenAI) -> None:
    (file_id,) = client.fine_tuning.jobs.retrieve(_succeeded(server, "support")).result_files
    with client.files.with_streaming_response.content(file_id) as response:
        assert int(response.headers["content-length"]) == sum(len(chunk) for chunk in response.iter_bytes())


def test_every_file_a_job_names_can_be_had(server: Sandbox, client: openai.OpenAI) -> None:
    listed = {file.id for file in client.files.list()}
    for job in server.world.jobs:
        named = {job.job["training_file"], job.job["validation_file"], *job.job["result_files"]}
        live = job.files_to_come(1_795_000_000)
        assert named - {None} - live <= listed


def test_files_are_listed_by_purpose(client: openai.OpenAI) -> None:
    assert {file.filename for file in client.files.list(purpose="fine-tune-results")} == {"step_metrics.csv"}


def test_a_deleted_file_is_gone_but_its_job_is_not(server: Sandbox, client: openai.OpenAI) -> None:
    job_id = _succeeded(server, "stock")
    file_id = client.fine_tuning.jobs.retrieve(job_id).training_file
    server.world.remove(file_id)
    with pytest.raises(openai.NotFoundError):
        client.files.content(file_id)
    assert client.fine_tuning.jobs.retrieve(job_id).training_file == file_id


def test_models_hold_the_bases_with_their_last_day_and_the_tuned_ones(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    tuned = {job.fine_tuned_model for job in client.fine_tuning.jobs.list()} - {None}
    assert tuned <= models.keys()
    assert models["gpt-4.1-mini-2025-04-14"].shutdown_date == "2027-01-14"


def test_undocumented_fields_are_served(server: Sandbox, client: openai.OpenAI) -> None:
    raw = client.fine_tuning.jobs.with_raw_response.retrieve(_succeeded(server, "torque"))
    assert json.loads(raw.content)["eval_id"].startswith("eval_")
