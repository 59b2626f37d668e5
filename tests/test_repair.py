"""One item of each run spoilt in W&B: verify names just that, and a repair brings it back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import pytest

import ft_sync
from ft_sync.compare import Differs, Identical, Missing, Verification
from ft_sync.sandbox import World, samples
from tests.wandb_backend.store import HISTORY, Blob, b64md5

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.wandb_backend import Artifact, Run, WandbBackend
    from tests.wandb_backend.store import Store

    Spoil: TypeAlias = Callable[[Run, Store], None]


def last_row(run: Run, **changes: object) -> None:
    rows = run.streams[HISTORY]
    rows[max(rows)] = json.dumps(json.loads(rows[max(rows)]) | changes)


def seventh_digit(run: Run, _: Store) -> None:
    last_row(run, train_loss=run.history[-1]["train_loss"] * (1 + 1e-7))


def a_row_gone(run: Run, _: Store) -> None:
    rows = run.streams[HISTORY]
    del rows[max(rows)]


def a_row_twice(run: Run, _: Store) -> None:
    rows = run.streams[HISTORY]
    rows[max(rows) + 1] = rows[max(rows)]


def a_time(run: Run, _: Store) -> None:
    last_row(run, _timestamp=1.5)


def config(run: Run, _: Store) -> None:
    run.raw_config["seed"]["value"] += 1


def summary(run: Run, _: Store) -> None:
    run.summary["trained_tokens"] += 1


def mark(run: Run, _: Store) -> None:
    del run.summary["ftsync"]


def tag(run: Run, _: Store) -> None:
    run.tags.remove("supervised")


def a_file_of_another_byte(run: Run, _: Store) -> None:
    blob = run.files["fine_tuning/job.json"]
    run.files[blob.name] = Blob(blob.name, blob.data[:-1] + b"]", run)


def a_file_gone(run: Run, _: Store) -> None:
    del run.files["fine_tuning/events.jsonl"]


def console(run: Run, _: Store) -> None:
    run.streams["output.log"][0] = "2026-01-01T00:00:00.000000 something else"


def state(run: Run, _: Store) -> None:
    run.exit_code = 1


def dataset(run: Run) -> Artifact:
    return next(artifact for artifact in run.used if artifact.type == "training_files")


def an_input_gone(run: Run, _: Store) -> None:
    run.used.remove(dataset(run))


def a_version_of_another(run: Run, store: Store, name: str, data: bytes) -> None:
    """Put a version with another file in the place of the artifact that the run uses."""
    held = dataset(run)
    collection = held.collection
    other = store.make_artifact(collection, digest=b64md5(data))
    other.metadata = held.metadata
    other.manifest = json.loads(json.dumps(held.manifest))
    other.manifest["contents"][name] |= {"digest": b64md5(data), "size": len(data)}
    collection.blobs[b64md5(data)] = Blob(name, data, other)
    other.wanted_aliases, other.used_by = held.aliases, [run]
    collection.remove(held)
    other.commit()
    run.used[:] = [one for one in run.used if one is not held] + [other]


def a_row_of_the_table_gone(run: Run, store: Store) -> None:
    table = json.loads(dataset(run).files["train_data.table.json"])
    table["data"].pop()
    a_version_of_another(run, store, "train_data.table.json", json.dumps(table).encode())


def a_cell_of_the_table(run: Run, store: Store) -> None:
    table = json.loads(dataset(run).files["train_data.table.json"])
    table["data"][0][1] += "!"
    a_version_of_another(run, store, "train_data.table.json", json.dumps(table).encode())


def a_byte_of_the_training_file(run: Run, store: Store) -> None:
    (name,) = (name for name in dataset(run).files if not name.endswith(".table.json"))
    a_version_of_another(run, store, name, dataset(run).files[name][:-2] + b" }")


def the_model_gone(run: Run, _: Store) -> None:
    (model,) = run.logged
    model.collection.remove(model)
    model.state = "DELETED"
    run.logged.clear()


def an_alias_gone(run: Run, _: Store) -> None:
    del run.logged[0].collection.aliases[run.id]


def latest_moved(run: Run, _: Store) -> None:
    aliases = run.logged[0].collection.aliases
    aliases["latest"] = next(one for alias, one in aliases.items() if alias not in {"latest", run.id})


def the_run_gone(run: Run, _: Store) -> None:
    del run.project.runs[run.id]


SPOILT: list[tuple[Spoil, list[str]]] = [
    (seventh_digit, ["row 4: train_loss"]),
    (a_row_gone, ["row 4"]),
    (a_row_twice, ["row 4"]),
    (a_time, ["row 4: time"]),
    (config, ["config.seed"]),
    (summary, ["summary.trained_tokens"]),
    (mark, ["mark"]),
    (tag, ["tag supervised"]),
    (a_file_of_another_byte, ["file fine_tuning/job.json"]),
    (a_file_gone, ["file fine_tuning/events.jsonl"]),
    (console, ["console log, line 1"]),
    (state, ["state"]),
    (an_input_gone, ["train dataset: artifact"]),
    (a_row_of_the_table_gone, ["train dataset: rows of train_data.table.json"]),
    (a_cell_of_the_table, ["train dataset: file train_data.table.json"]),
    (a_byte_of_the_training_file, ["train dataset: file workshop-letters.jsonl"]),
    (the_model_gone, ["model artifact"]),
    (an_alias_gone, ["model alias JOB"]),
    (the_run_gone, ["missing"]),
    (latest_moved, ["model alias latest"]),  # the newest job
]


@pytest.fixture
def jobs(world: World) -> list[str]:
    """Jobs with a training file each, oldest first."""
    for number, job in enumerate(samples.many(len(SPOILT))):
        own = f"file-own-{number}"
        theirs = next(file for file in job.files if file.id == job.job["training_file"])
        files = [file for file in job.files if file is not theirs]
        world.add(replace(job, job=job.job | {"training_file": own}, files=[*files, replace(theirs, id=own)]))
    return [job.id for job in world.jobs][::-1]


def items(verification: Verification) -> dict[str, list[str]]:
    """What is not identical, by job."""
    found: dict[str, list[str]] = {}
    for verdict in verification.verdicts:
        if isinstance(verdict, Differs):
            found[verdict.job_id] = [one.item.replace(verdict.job_id, "JOB") for one in verdict.differences]
        elif not isinstance(verdict, Identical):
            found[verdict.job_id] = ["missing"] if isinstance(verdict, Missing) else [repr(verdict)]
    return found


@pytest.mark.usefixtures("workspace")
def test_what_is_spoilt_is_named_and_repaired_and_nothing_else(
    jobs: list[str], backend: WandbBackend, project: str
) -> None:
    assert len(ft_sync.sync().synced) == len(jobs)
    assert items(ft_sync.verify()) == {}

    runs = {run.id: run for run in backend.runs(project)}
    for job_id, (spoil, _) in zip(jobs, SPOILT, strict=True):
        spoil(runs[job_id], backend.store)
    expected = {job_id: named for job_id, (_, named) in zip(jobs, SPOILT, strict=True)}
    assert items(ft_sync.verify()) == expected

    repaired = ft_sync.verify(repair=True)
    assert items(repaired) == {}
    assert [verdict.job_id for verdict in repaired.verdicts] == jobs
    assert {run.display_name for run in backend.runs(project)} == set(jobs)
