"""What a source serves without keys: everything but training files, however many events there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from ft_sync.models import FileId, JobId
from ft_sync.sandbox import SampleFile, SampleJob, Sandbox, World, serve
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from ft_sync.sources.redacted import RedactedSource
from tests.builders import readable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-of-the-user-alone"
HEX = KEY.encode().hex()
JOB = JobId("ftjob-1")
CONTENT = f"step,train_loss\n1,{HEX}\n".encode()


def event(number: int) -> dict[str, object]:
    return {"id": f"e{number}", "created_at": number, "message": "step"}


@pytest.fixture
def world() -> World:
    file = SampleFile(id="file-1", filename=f"{HEX}.csv", purpose="fine-tune", content=CONTENT, created_at=1)
    job = {"id": JOB, "object": "fine_tuning.job", "created_at": 1, "status": "succeeded", "metadata": {KEY: [HEX]}}
    saved = {"id": "c1", "step_number": 1, "fine_tuned_model_checkpoint": HEX, "metrics": {}}
    return World([SampleJob(job=job, events=[event(1)], checkpoints=[saved], files=[file])])


@pytest.fixture
def sandbox(world: World) -> Iterator[Sandbox]:
    with serve(world, api_key=KEY) as server:
        yield server


@pytest.fixture
def source(sandbox: Sandbox) -> Iterator[RedactedSource]:
    with openai.OpenAI(base_url=sandbox.url, api_key=KEY) as client:
        yield RedactedSource(OpenAISource(client, Pace(FakeClock(), lambda _: None)))


def test_a_job_a_checkpoint_and_a_file_are_served_without_keys(source: RedactedSource) -> None:
    (listed,) = readable(source.jobs())
    assert listed.metadata == {"***": ["***"]}
    assert source.job(JOB) == listed
    assert [saved.model for saved in source.checkpoints(JOB)] == ["***"]
    assert source.file(FileId("file-1")).filename == "***.csv"


def test_a_result_file_is_read_without_keys_and_any_file_is_downloaded_with_them(
    source: RedactedSource, tmp_path: Path
) -> None:
    assert source.content(FileId("file-1"), limit=1000) == b"step,train_loss\n1,***\n"
    assert source.download(FileId("file-1"), tmp_path / "content").path.read_bytes() == CONTENT


@pytest.mark.parametrize("number", [3, 1_200])
def test_events_are_served_without_keys_few_or_many(source: RedactedSource, sandbox: Sandbox, number: int) -> None:
    newest_first = [event(at) for at in range(number, 0, -1)]
    newest_first[-2] = newest_first[-2] | {"id": f"e-{HEX}", "message": f"bad key {HEX}"}
    sandbox.fail("/events", body={"data": newest_first, "has_more": False})
    events = source.events(JOB)
    for _ in range(2):
        assert [event.message for event in events] == ["step", "bad key ***", *["step"] * (number - 2)]
    # A cursor is one of the ids that were served, which is not the one that the service knows.
    assert [event.id for event in source.events(JOB, after="e-***")] == [f"e{at}" for at in range(3, number + 1)]


def test_a_job_without_an_id_is_named_by_no_part_of_a_key(source: RedactedSource, sandbox: Sandbox) -> None:
    page = {"data": [{"model": f"{'x' * 40}{KEY}"}], "has_more": False}
    sandbox.fail("/fine_tuning/jobs", body=page)
    (failed,) = source.jobs()
    assert str(getattr(failed, "error", "")) == f"a job has no usable id (model {'x' * 40}***)"
