"""A live job unfolds by the clock; nothing here sleeps."""

import itertools

import openai
import pytest

from ft_sync.sandbox import Live, Sandbox, samples
from tests.sandbox.conftest import NOW, Clock


@pytest.fixture
def job_id(server: Sandbox) -> str:
    return next(job.id for job in server.world.jobs if job.live)


def _steps(client: openai.OpenAI, job_id: str) -> list[int]:
    events = client.fine_tuning.jobs.list_events(job_id, limit=100)
    return [event.data["step"] for event in events if event.type == "metrics" and isinstance(event.data, dict)]


@pytest.mark.parametrize(
    ("after", "status"),
    [
        (-20, "validating_files"),
        (-15, "queued"),
        (0, "running"),
        (17.9, "running"),
        (18, "succeeded"),
    ],
)
def test_the_status_follows_the_clock(
    client: openai.OpenAI, clock: Clock, job_id: str, after: float, status: str
) -> None:
    clock.now = NOW + after
    assert client.fine_tuning.jobs.retrieve(job_id).status == status


def test_before_the_start_hyperparameters_read_auto(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    clock.now = NOW - 1
    job = client.fine_tuning.jobs.retrieve(job_id)
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert job.hyperparameters.to_dict() == auto
    assert job.method is not None
    assert job.method.to_dict() == {"type": "supervised", "supervised": {"hyperparameters": auto}}


def test_a_running_job_has_an_estimate_and_no_results(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    clock.now = NOW + 5
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.estimated_finish == NOW + 18
    assert job.hyperparameters.n_epochs == 3
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens, job.result_files) == (
        None,
        None,
        None,
        [],
    )


def test_a_succeeded_job_has_its_results(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    clock.now = NOW + 18
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith("ft:gpt-4.1-mini-2025-04-14:acme:night-shift:")
    assert (job.finished_at, job.estimated_finish) == (NOW + 18, None)
    assert client.files.retrieve(job.result_files[0]).created_at == job.finished_at


def test_the_result_file_comes_only_at_the_end(
    server: Sandbox, client: openai.OpenAI, clock: Clock, job_id: str
) -> None:
    clock.now = NOW + 17
    job = server.world.job(job_id)
    assert job is not None
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(job.job["result_files"][0])


def test_steps_appear_about_every_half_second(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    seen = []
    for half_seconds in range(37):
        clock.now = NOW + half_seconds / 2
        seen.append(len(_steps(client, job_id)))
    assert (seen[0], seen[-1]) == (0, 36)
    assert all(later - earlier in {0, 1, 2} for earlier, later in itertools.pairwise(seen))


def test_events_only_ever_come_on_top(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    before: list[str] = []
    for seconds in range(19):
        clock.now = NOW + seconds
        now = [event.id for event in client.fine_tuning.jobs.list_events(job_id, limit=100)]
        assert now[len(now) - len(before) :] == before
        before = now


def test_checkpoints_appear_one_by_one(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    seen = []
    for seconds in (1, 6, 12, 18):
        clock.now = NOW + seconds
        seen.append([point.step_number for point in client.fine_tuning.jobs.checkpoints.list(job_id)])
    assert seen == [[], [12], [24, 12], [36, 24, 12]]


def test_the_job_stays_the_same_after_its_end(client: openai.OpenAI, clock: Clock, job_id: str) -> None:
    clock.now = NOW + 18
    first = client.fine_tuning.jobs.retrieve(job_id)
    clock.now = NOW + 10_000
    assert client.fine_tuning.jobs.retrieve(job_id) == first


def test_a_live_job_may_end_cancelled(server: Sandbox, client: openai.OpenAI, clock: Clock) -> None:
    job = samples.Supervised(id="ftjob-stopped", status="cancelled", stop_at=4, steps=10, live=True).build()
    server.world.add(job)
    assert isinstance(job.live, Live)
    clock.now = job.live.starts_at
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    clock.now = job.live.ends_at
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
    assert _steps(client, job.id) == [4, 3, 2, 1]
