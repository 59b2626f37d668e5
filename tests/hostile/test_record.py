"""Whatever a service sends of a job, what is made of it can be written, and says nothing that is not so."""

from __future__ import annotations

import json
import math
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ft_sync import convert, names, plan, redaction
from ft_sync.errors import Refused
from ft_sync.models import FileId, JobSnapshot, ResultFile, RunRecord, TrainingFile
from ft_sync.sandbox import SampleJob
from ft_sync.sources.objects import checkpoint_from, event_from, file_from, job_from
from tests.fakes import FakeSource
from tests.hostile.mutations import ABSURD, JOBS, jobs, mutated, paths, replaced

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SAMPLE = JOBS[1]
LAST_SECOND = 253_402_300_800
"""The end of the calendar."""


def record_of(sample: SampleJob, content: bytes = b"step,train_loss\n1,2.5\n") -> RunRecord:
    job = job_from(sample.job)
    events = tuple(map(event_from, sample.events))
    source = FakeSource([job])
    source.events_by_id[job.id] = list(events)
    files = tuple(ResultFile(file_id, content) for file_id in job.result_files[:3])
    training = tuple(TrainingFile(file_id, "train") for file_id in (job.training_file,) if file_id)
    return convert.record(JobSnapshot(job, events, tuple(map(checkpoint_from, sample.checkpoints)), files, training))


def assert_json(value: Any) -> None:  # noqa: ANN401 - JSON
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def assert_sound(record: RunRecord) -> None:
    assert_json([record.config, record.summary, record.model_metadata, record.notes, record.log, record.failure])
    steps = [row.step for row in record.rows]
    assert steps == sorted(set(steps))
    assert all(0 <= step <= 2**53 for step in steps)
    for row in record.rows:
        assert row.metrics
        assert all(name and math.isfinite(number) for name, number in row.metrics.items())
        assert row.time is None or 0 < row.time < LAST_SECOND
        assert_json(row.metrics)
    assert all(0 < len(tag) <= 64 for tag in record.tags)
    assert all(line and "\n" not in line for line in record.log)
    assert not any({"..", "/"} & set(PurePosixPath(file.path).parts) for file in record.files)
    assert len(record.digest) == 64


@settings(deadline=None, max_examples=40)
@given(jobs())
def test_a_job_of_which_anything_is_absurd_becomes_a_sound_record_or_is_refused(sample: SampleJob) -> None:
    try:
        job = job_from(sample.job)
    except Refused:
        return
    assert_sound(record_of(sample))
    for rule in (plan.Rule(), plan.Rule(wait=False, overwrite=True, include_unsuccessful=True)):
        assert plan.plan(job, (), rule).job == job
    assert names.run_id(job.id)


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: repr(value)[:20])
def test_each_field_alone_may_be_anything(value: object) -> None:
    for path in paths(SAMPLE.job):
        changed = SampleJob(job=replaced(SAMPLE.job, path, value), events=SAMPLE.events[:2])
        if path == ("id",) and not (isinstance(value, str) and value not in {"", "\ud800"}):
            with pytest.raises(Refused):
                job_from(changed.job)
            continue
        assert_sound(record_of(changed))


@given(st.data())
def test_a_field_that_is_absurd_changes_no_other(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([("model",), ("seed",), ("created_at",), ("trained_tokens",), ("metadata",)]))
    before = job_from(SAMPLE.job)
    after = job_from(replaced(SAMPLE.job, path, data.draw(st.sampled_from(ABSURD))))
    changed = {name for name in before.__slots__ if getattr(before, name) != getattr(after, name)}
    assert changed <= {"raw", "base_model" if path == ("model",) else path[0]}


@settings(deadline=None, max_examples=40)
@given(mutated(SAMPLE.files[0].as_json()))
def test_the_description_of_a_file_may_be_anything(raw: dict[str, Any]) -> None:
    file = file_from(FileId("file-1"), raw)
    assert file.filename is None or file.filename
    assert file.size is None or abs(file.size) <= 2**63


KEY = "sk-proj-Ab3_/x9Zq T=k+Lm8Rw2Vy7Qs4Dt6Fg1Hj5Kn0PcXvBz"


def test_a_key_in_parts_is_in_nothing_that_is_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", redaction._Known())
    redaction.learn(KEY)
    first, last = KEY.split("/")
    one, other = KEY.split(" ")
    sample = SampleJob(
        job=SAMPLE.job | {"model": f"{one}\x00{other}", "metadata": {first: {last: 1}}},
        events=[
            {"type": "metrics", "message": f"{one}\x00{other}", "data": {"step": 1, first: {last: 1.5}}},
            {"type": "metrics", "message": one, "data": {"step": 2, first: {last: "a text"}}},
            {"type": "metrics", "data": {"step": 3, "graders": [{"type": first, "name": last, "loss": 0.5}]}},
        ],
        checkpoints=[{"id": "c", "step_number": 4, "metrics": {first: {last: 2.5}}}],
        files=SAMPLE.files,
    )
    record = record_of(sample)
    found = {name for row in record.rows for name in row.metrics}
    assert {"***", "graders/***/loss"} <= found
    written = [record.config, record.summary, record.tags, record.notes, [*record.log], *map(sorted, [found])]
    assert KEY not in json.dumps(written)
    assert last[:20] not in json.dumps([*record.notes, *found])
