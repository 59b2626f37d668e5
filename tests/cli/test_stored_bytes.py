"""A W&B that takes uploads and stores something else: no sync can know, verify names the file, and a repair helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import wandb

from ft_sync.sandbox import World, samples
from ft_sync.sinks import storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ftsync, Said
    from tests.wandb_backend import Artifact, Run, WandbBackend

NOTHING = "no bytes: the storage does not have the file that W&B lists"

LIES: dict[str, Callable[[bytes], bytes | None]] = {
    "nothing": lambda _: None,
    "half": lambda data: data[: len(data) // 2],
    "altered": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "longer": lambda data: data + b" ",
}

TRAIN, TABLE, MODEL, OF_RUN = (
    "workshop-letters.jsonl",
    "train_data.table.json",
    "model_metadata.json",
    "fine_tuning/events.jsonl",
)


@pytest.fixture
def ids(world: World) -> list[str]:
    """Two jobs that share their training and validation files, oldest first."""
    world.add(*samples.many(2))
    return [job.id for job in world.jobs][::-1]


def wrong(said: Said) -> dict[str, dict[str, str]]:
    """What was found of each item that differs, by job."""
    found: dict[str, dict[str, str]] = {}
    for name, job, item, _, there in said.rows:
        if name != "identical":
            found.setdefault(job, {})[item] = there
    return found


def only(runs: list[Run], job: str) -> Run:
    (run,) = [one for one in runs if one.id.startswith(job)]
    return run


def dataset(run: Run) -> Artifact:
    return next(one for one in run.used if one.type == "training_files")


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_stored_as_it_was_uploaded_is_named_and_repaired(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str, lie: str
) -> None:
    for path in (TRAIN, TABLE, MODEL, OF_RUN):
        backend.corrupt(path, LIES[lie])
    assert ftsync("sync").code == 0
    backend.heal()
    damaged = [dataset(run) for run in backend.runs(project)]

    said = ftsync("verify")
    assert said.code == 3
    for job in ids:
        items = wrong(said)[job]
        assert {item.partition(": ")[2] or item for item in items if MODEL not in item} == {
            f"file {TRAIN}",
            f"file {TABLE}",
            f"file {OF_RUN}",
        }
        assert any(MODEL in item for item in items)
        assert (NOTHING in items.values()) == (lie == "nothing")

    assert ftsync("verify", "--repair").code == 0
    assert ftsync("verify").code == 0
    assert sorted(run.display_name for run in backend.runs(project)) == sorted(ids)
    assert not {one.id for one in damaged} & {dataset(run).id for run in backend.runs(project)}


def test_a_damaged_dataset_of_a_job_alone_is_replaced_for_all_that_use_it(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    backend.corrupt(TABLE, LIES["half"])
    assert ftsync("sync").code == 0
    backend.heal()
    artifact = dataset(backend.runs(project)[0])
    artifact.collection.aliases["mine"] = artifact
    with wandb.init(project=project, id="my-eval", reinit="create_new") as mine:
        mine.use_artifact(f"{artifact.collection.name}:mine")

    said = ftsync("verify", "--repair", "--job", ids[0])
    assert said.code == 0
    assert f"the run {ids[1]} used the damaged {artifact.collection.name}, and uses the new one now" in said.err
    assert f"the run my-eval used the damaged {artifact.collection.name}, and uses the new one now" in said.err
    assert [list(row[:2]) for row in ftsync("verify").rows] == [["identical", job] for job in ids]
    runs = backend.runs(project)
    (new,) = {dataset(run) for run in runs}
    assert set(new.aliases) == {"latest", "mine", new.collection.name.removeprefix("train-")}
    paths = {run.summary["train_data"]["artifact_path"] for run in runs if run.id != "my-eval"}
    assert len(paths) == 1
    assert [run.id for run in runs] == [ids[1], "my-eval", f"{ids[0]}-r2"]


def test_without_content_the_bytes_of_datasets_are_not_read_and_the_verdict_says_so(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend
) -> None:
    backend.corrupt(TRAIN, LIES["altered"])
    backend.corrupt(TABLE, LIES["nothing"])
    assert ftsync("sync").code == 0
    backend.requests.clear()
    said = ftsync("verify", "--no-content")
    assert said.code == 0
    assert "2 jobs: note: the bytes of the datasets were not read" in said.err
    read = [request.path for request in backend.requests if request.operation == "download"]
    assert read
    assert not [path for path in read if path.endswith((TRAIN, ".table.json"))]
    document = ftsync("verify", "--no-content", "--json", "--job", ids[0]).json
    assert document["verdicts"][0]["notes"] == ["the bytes of the datasets were not read"]
    assert ftsync("verify").code == 3


def test_each_stored_file_is_read_once(ftsync: Ftsync, ids: list[str], backend: WandbBackend) -> None:
    assert ids
    assert ftsync("sync").code == 0
    backend.requests.clear()
    assert ftsync("verify").code == 0
    read = [request.path for request in backend.requests if request.operation == "download"]
    assert len(read) == len(set(read))
    # Training and validation file with a table each, and for each job its model and four files.
    assert len(read) == 4 + 2 * 5


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": True}], ids=str)
def test_a_storage_that_cannot_be_asked_is_no_difference(
    ftsync: Ftsync, world: World, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, fault: dict[str, int]
) -> None:
    monkeypatch.setattr(storage, "PAUSES", (0.01,))
    world.add(*samples.many(1))
    assert ftsync("sync").code == 0
    failure = backend.fail("download", **fault, when=lambda request: request.path.endswith(TRAIN))  # type: ignore[arg-type]
    said = ftsync("verify", "--repair")
    assert [row[0] for row in said.rows] == ["unreadable"]
    assert TRAIN in said.rows[0][-1]
    assert said.code == 5
    assert failure.hits == 2
    backend.heal(failure)
    assert ftsync("verify").code == 0


@pytest.mark.parametrize("fault", [{"cut": True}], ids=str)
def test_a_storage_that_fails_for_a_moment_is_asked_again(
    ftsync: Ftsync, world: World, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, fault: dict[str, int]
) -> None:
    monkeypatch.setattr(storage, "PAUSES", (0.01,) * 3)
    world.add(*samples.many(1))
    assert ftsync("sync").code == 0
    failures = [
        backend.fail("download", **fault, times=2, when=lambda request, path=path: request.path.endswith(path))  # type: ignore[arg-type,misc]
        for path in (TRAIN, TABLE, MODEL)
    ]
    assert ftsync("verify").code == 0
    assert [failure.hits for failure in failures] == [2, 2, 2]


def test_an_artifact_whose_list_of_files_is_lost_differs_and_is_repaired(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    assert ftsync("sync").code == 0
    artifact = dataset(backend.runs(project)[0])
    name = artifact.collection.name.encode()
    backend.fail(
        "ArtifactMembershipFiles",
        status=404,
        when=lambda request: name in request.body and artifact.version is not None,
    )
    said = ftsync("verify")
    assert said.code == 3
    assert {job: list(items) for job, items in wrong(said).items()} == {
        job: ["train dataset: file", f"train dataset: file {TABLE}"] for job in ids
    }
    assert ftsync("verify", "--repair").code == 0
    assert artifact.state == "DELETED"


def test_the_damaged_model_of_an_enriched_run_is_replaced(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    (job,) = world.jobs
    with wandb.init(project=project, id=job.id, tags=["openai/fine-tune"], reinit="create_new") as native:
        native.log({"train_loss": 9.5})
    backend.corrupt(MODEL, LIES["half"])
    assert ftsync("sync").code == 0
    backend.heal()
    said = ftsync("verify")
    assert wrong(said) == {job.id: {MODEL: wrong(said)[job.id][MODEL]}}
    assert ftsync("verify", "--repair").code == 0
    (run,) = backend.runs(project)
    assert run.id == job.id
    assert len(run.logged) == 1


def test_a_damaged_file_that_the_source_does_not_give_any_more_is_named_and_left_alone(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    (job,) = world.jobs
    backend.corrupt(TRAIN, LIES["half"])
    assert ftsync("sync").code == 0
    backend.heal()
    world.remove(str(job.job["training_file"]))
    assert "--repair" not in ftsync("verify").err
    for _ in range(2):
        said = ftsync("verify", "--repair")
        assert said.code == 3
        assert list(wrong(said)[job.id]) == [f"train dataset: file {TRAIN}"]
        assert "left alone: the source does not give the damaged files any more" in said.err
        assert [run.id for run in backend.runs(project)] == [job.id]


def damaged(ftsync: Ftsync, backend: WandbBackend, project: str) -> Artifact:
    """A dataset whose table is damaged, which another run uses, too."""
    backend.corrupt(TABLE, LIES["half"])
    assert ftsync("sync").code == 0
    backend.heal()
    artifact = dataset(backend.runs(project)[0])
    with wandb.init(project=project, id="my-eval", reinit="create_new") as mine:
        mine.use_artifact(f"{artifact.collection.name}:latest")
    return artifact


def test_a_damaged_version_that_may_not_be_deleted_stays_and_is_not_taken_for_repaired(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    artifact = damaged(ftsync, backend, project)
    backend.fail("DeleteArtifact", status=403)
    said = ftsync("verify", "--repair")
    assert said.code == 3
    assert set(wrong(said)) == set(ids)
    assert f"the damaged versions of {artifact.collection.name}" in said.err
    assert artifact.version is not None
    backend.heal()
    assert ftsync("verify", "--repair").code == 0
    assert artifact.state == "DELETED"


def test_what_used_a_deleted_version_uses_the_new_one_although_the_first_upload_failed(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    artifact = damaged(ftsync, backend, project)
    refused = backend.fail("CommitArtifact", status=400, times=1, when=lambda _: artifact.state == "DELETED")
    said = ftsync("verify", "--repair")
    assert refused.hits == 1
    assert f"the run my-eval used the damaged {artifact.collection.name}, and uses the new one now" in said.err
    assert ftsync("verify", "--repair").code == 0
    assert ids
    (new,) = {dataset(run) for run in backend.runs(project)}
    assert new is not artifact


def test_a_repair_whose_uploads_fail_says_what_other_runs_have_lost(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    artifact = damaged(ftsync, backend, project)
    name = artifact.collection.name
    backend.fail("CommitArtifact", status=400)
    said = ftsync("verify", "--repair", "--job", ids[0])
    assert said.code == 3
    for lost in ("my-eval", ids[1]):
        assert f"the run {lost} used the damaged {name}, which was deleted before its upload failed" in said.err
    backend.heal()
    assert ftsync("verify", "--repair").code == 0


def test_runs_that_are_kept_get_the_new_version_too(
    ftsync: Ftsync, ids: list[str], backend: WandbBackend, project: str
) -> None:
    damaged(ftsync, backend, project)
    assert ftsync("verify", "--repair", "--keep-replaced").code == 0
    runs = backend.runs(project)
    assert len(runs) == len(ids) * 2 + 1
    assert len({dataset(run) for run in runs}) == 1
