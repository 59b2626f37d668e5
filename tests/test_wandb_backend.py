"""The loopback W&B server, driven by the unmodified SDK and its core process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import wandb
from wandb.errors import AuthenticationError, CommError
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb_workspaces.reports.v2.interface import MarkdownBlock, Report
from wandb_workspaces.workspaces.interface import Section, Workspace

from tests.wandb_backend import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wandb_backend import Request, WandbBackend

KEY = "0123456789abcdef" * 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbBackend]:
    root = tmp_path_factory.mktemp("wandb")
    wandb.teardown()
    with pytest.MonkeyPatch.context() as patch, serving() as backend:
        patch.delenv("WANDB_SERVICE", raising=False)
        for name, value in backend.env(root).items():
            patch.setenv(name, value)
        patch.chdir(root)
        yield backend
        wandb.teardown()


@pytest.fixture
def backend(server: WandbBackend) -> Iterator[WandbBackend]:
    yield server
    server.heal()
    errors, server.errors = server.errors, []
    assert errors == []


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)[:100].strip("-")


def start(
    project: str,
    run_id: str,
    *,
    config: dict[str, Any] | None = None,
    tags: list[str] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    notes: str | None = None,
    resume: Literal["allow", "must"] | None = None,
    mode: Literal["online", "offline"] = "online",
    init_timeout: float = 20,
) -> wandb.Run:
    """A lean run; its core tries again after one second, the shortest that it understands."""
    settings = wandb.Settings(
        console="off",
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        save_code=False,
        disable_git=True,
        disable_job_creation=True,
        x_disable_machine_info=True,
        silent=True,
        init_timeout=init_timeout,
        x_graphql_retry_wait_min_seconds=1,
        x_file_stream_retry_wait_min_seconds=1,
        x_file_transfer_retry_wait_min_seconds=1,
    )
    return wandb.init(
        entity="ada",
        project=project,
        id=run_id,
        name=f"the {run_id}",
        config=config,
        tags=tags,
        group=group,
        job_type=job_type,
        notes=notes,
        resume=resume,
        mode=mode,
        reinit="create_new",
        settings=settings,
    )


def artifact(name: str, **files: str) -> wandb.Artifact:
    made = wandb.Artifact(name, type="dataset", description="some rows", metadata={"rows": len(files)})
    for stem, text in files.items():
        with made.new_file(f"{stem}.jsonl") as file:
            file.write(text)
    return made


# Runs


def test_a_run_comes_back_as_it_was_written(backend: WandbBackend, project: str) -> None:
    config = {"model": "gpt", "n_epochs": 3, "method": {"type": "supervised"}, "seed": None}
    with start(project, "one", config=config, tags=["x", "y"], group="g", job_type="ft", notes="hello") as run:
        for loss in (3.0, 2.0, 1.0):
            run.log({"loss": loss})
        run.summary["mark"] = {"rows": 3}

    found = wandb.Api().run(f"ada/{project}/one")

    held = backend.run("ada", project, "one")
    assert held is not None
    assert held.config == found.config == config
    assert (found.name, found.state, found.notes) == ("the one", "finished", "hello")
    assert (found.tags, found.group, found.job_type) == (["x", "y"], "g", "ft")
    assert (found.summary["loss"], found.summary["mark"]["rows"]) == (1.0, 3)
    assert found.historyLineCount == 3


def test_a_whole_journey_asks_for_no_unknown_field(backend: WandbBackend, project: str, tmp_path: Path) -> None:
    backend.unknown_fields.clear()
    (tmp_path / "note.txt").write_text("hello")
    with start(project, "one", config={"a": 1}) as run:
        run.log({"loss": 1.0})
        run.log({"table": wandb.Table(columns=["a"], data=[[1]])})
        run.log_artifact(artifact("data", train="1")).wait()
        run.use_artifact("data:latest")
        run.use_artifact(artifact("input", train="2"))
        run.save(tmp_path / "note.txt", base_path=tmp_path, policy="now")
        run.link_artifact(run.log_artifact(artifact("data", train="3")), "wandb-registry-model/best")
    with wandb.init(project=project, reinit="create_new"):
        pass
    api = wandb.Api()
    (found,) = api.runs(f"ada/{project}", filters={"name": "one"}, lazy=False)
    list(found.scan_history(use_cache=False))
    list(found.scan_history(keys=["loss"], use_cache=False))
    found.history(keys=["loss"], pandas=False)
    assert [one.name for one in found.logged_artifacts()] == ["run-one-table:v0", "data:v0", "data:v1"]
    assert [one.name for one in found.used_artifacts()] == ["data:v0", "input:v0"]
    assert {"note.txt", "wandb-summary.json"} <= {file.name for file in found.files()}
    assert {kind.name for kind in api.artifact_types(f"ada/{project}")} == {"dataset", "run_table"}
    assert [one.version for one in api.artifacts("dataset", f"ada/{project}/data")] == ["v1", "v0"]
    assert [one.name for one in api.artifact_collections(f"ada/{project}", "dataset")] == ["data", "input"]
    assert api.artifact_collection("dataset", f"ada/{project}/data").aliases == ["latest"]
    found.upload_file(str(tmp_path / "note.txt"), root=str(tmp_path))
    found.update()
    found.delete()

    assert backend.unknown_fields == set()


def test_an_unknown_field_answers_null_and_is_remembered(backend: WandbBackend) -> None:
    query = "query Odd { viewer { ...Part } } fragment Part on User { name: username shoeSize }"
    answer: object = wandb.Api()._service_api.execute_graphql(query)

    assert answer == {"viewer": {"name": "ada", "shoeSize": None}}
    assert "User.shoeSize" in backend.unknown_fields


def test_history_comes_back_row_by_row(backend: WandbBackend, project: str) -> None:
    rows = [{"loss": 1.5, "_timestamp": 1000.0 + step, "_step": step} for step in range(4)]
    with start(project, "one") as run:
        for row in rows:
            run.log({key: row[key] for key in ("loss", "_timestamp")}, step=int(row["_step"]))

    found = wandb.Api().run(f"ada/{project}/one")

    def without_runtime(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key != "_runtime"} for row in given]

    held = backend.run("ada", project, "one")
    assert held is not None
    assert without_runtime(held.history) == rows
    assert without_runtime(list(found.scan_history(use_cache=False))) == rows
    assert without_runtime(found.history(pandas=False)) == rows
    assert list(found.scan_history(keys=["loss"], min_step=2, use_cache=False)) == [
        {"_step": 2, "loss": 1.5},
        {"_step": 3, "loss": 1.5},
    ]
    assert len(found.history(samples=2, pandas=False)) == 2


@pytest.mark.parametrize("mode", ["allow", "must"])
def test_resume_appends_after_the_last_step(
    backend: WandbBackend, project: str, mode: Literal["allow", "must"]
) -> None:
    with start(project, "one", config={"a": 1}) as run:
        run.log({"loss": 3})
        run.log({"loss": 2})

    with start(project, "one", config={"b": 2}, resume=mode) as run:
        assert run.starting_step == 2
        run.log({"loss": 9}, step=1)
        run.log({"loss": 1}, step=2)

    held = backend.run("ada", project, "one")
    assert held is not None
    assert [(row["_step"], row["loss"]) for row in held.history] == [(0, 3), (1, 2), (2, 1)]
    assert held.config == {"a": 1, "b": 2}


def test_a_plain_init_on_an_existing_id_appends_its_rows_too(backend: WandbBackend, project: str) -> None:
    for loss in (1, 2):
        with start(project, "one") as run:
            run.log({"loss": loss})

    held = backend.run("ada", project, "one")
    assert held is not None
    assert [(row["_step"], row["loss"]) for row in held.history] == [(0, 1), (0, 2)]


@pytest.mark.usefixtures("backend")
def test_what_cannot_be_resumed_is_refused(project: str) -> None:
    with pytest.raises(wandb.errors.UsageError, match="does not exist"):
        start(project, "none", resume="must")


def test_an_exception_ends_a_run_as_failed_and_silence_as_crashed(backend: WandbBackend, project: str) -> None:
    def fail() -> None:
        with start(project, "one"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (run,) = backend.runs(project)
    assert (run.state, run.exit_code) == ("failed", 1)

    run.exit_code = None
    run.heartbeat_at -= timedelta(minutes=6)
    assert wandb.Api().run(f"ada/{project}/one").state == "crashed"


def test_console_lines_come_back(backend: WandbBackend, project: str) -> None:
    settings = wandb.Settings(console="wrap", silent=True)
    with wandb.init(project=project, id="one", reinit="create_new", settings=settings) as run:
        run.write_logs("line one")
        run.write_logs("line two")

    assert backend.runs(project)[0].console == ["line one", "line two"]
    logs = wandb.Api().run(f"ada/{project}/one").console_logs()
    assert [line.content for line in logs] == ["line one", "line two"]


def test_update_changes_a_run_in_place(backend: WandbBackend, project: str) -> None:
    with start(project, "one", config={"a": 1}):
        pass
    found = wandb.Api().run(f"ada/{project}/one")
    found.config["b"] = 2
    found.summary["mark"] = "done"
    found.name = "renamed"
    setattr(found, "tags", ["t"])  # noqa: B010 -- the SDK keeps it in a dictionary, unseen by mypy
    setattr(found, "notes", "changed")  # noqa: B010 -- likewise
    found.update()

    (held,) = backend.runs(project)
    assert held.config == {"a": 1, "b": 2}
    assert held.summary["mark"] == "done"
    assert (held.tags, held.notes, held.display_name, held.state) == (["t"], "changed", "renamed", "finished")


def test_the_id_of_a_deleted_run_answers_409(backend: WandbBackend, project: str) -> None:
    with start(project, "one"):
        pass
    wandb.Api().run(f"ada/{project}/one").delete()

    assert backend.run("ada", project, "one") is None
    with pytest.raises(CommError, match="HTTP 409"):
        start(project, "one", init_timeout=1)
    wandb.teardown()


def test_files_come_back(backend: WandbBackend, project: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a b.txt").write_text("hello")
    with start(project, "one") as run:
        run.save(tmp_path / "deep" / "a b.txt", base_path=tmp_path)

    assert backend.runs(project)[0].files["deep/a b.txt"].data == b"hello"
    file = wandb.Api().run(f"ada/{project}/one").file("deep/a b.txt")
    with file.download(root=str(tmp_path / "back")) as back:
        assert back.read() == "hello"


# Asking for runs


@pytest.fixture(scope="module")
def family(server: WandbBackend) -> str:
    """Runs r0 to r4, of which the last failed."""
    for number in range(5):
        with start(
            "family",
            f"r{number}",
            config={"n": number, "job": {"id": f"ft-{number}"}, "a.b": number},
            tags=["even" if number % 2 == 0 else "odd"],
            group="first" if number < 2 else "second",
            job_type="fine-tune",
        ) as run:
            run.log({"loss": 5 - number})
            if number != 3:
                run.summary["mark"] = {"version": number}
    server.runs("family")[4].exit_code = 1
    return "ada/family"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "01234"),
        ({"name": "r1"}, "1"),
        ({"name": {"$in": ["r1", "r3", "gone"]}}, "13"),
        ({"display_name": "the r2"}, "2"),
        ({"displayName": {"$regex": "r[01]$"}}, "01"),
        ({"state": "failed"}, "4"),
        ({"state": {"$nin": ["failed", "crashed"]}}, "0123"),
        ({"jobType": "fine-tune", "group": "first"}, "01"),
        ({"tags": "odd"}, "13"),
        ({"tags": {"$ne": "odd"}}, "024"),
        ({"tags": {"$in": ["odd"]}}, "13"),
        ({"config.n": 2}, "2"),
        ({"config.n.value": {"$gte": 1, "$lt": 3}}, "12"),
        ({"config.job.id": "ft-3"}, "3"),
        ({"config.job.value.id": "ft-3"}, "3"),
        ({"config.a.b": {"$lte": 0}}, "0"),
        ({"config.gone": {"$exists": False}}, "01234"),
        ({"summary_metrics.mark": {"$exists": False}}, "3"),
        ({"summary_metrics.mark.version": {"$gt": 1}}, "24"),
        ({"summary_metrics.mark.version": None}, "3"),
        ({"$or": [{"name": "r0"}, {"config.n": {"$eq": 4}}]}, "04"),
        ({"$and": [{"tags": "even"}, {"$nor": [{"name": "r0"}]}]}, "24"),
        ({"config.n": {"$not": {"$gt": 1}}}, "01"),
        ({"$not": {"group": "first"}}, "234"),
    ],
)
@pytest.mark.usefixtures("backend")
def test_filters_choose_runs(family: str, filters: dict[str, Any], expected: str) -> None:
    runs = wandb.Api().runs(family, filters=filters)

    assert "".join(run.id[1] for run in runs) == expected
    assert len(runs) == len(expected)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("-created_at", "43210"),
        ("+summary_metrics.loss", "43210"),
        ("-config.n.value", "43210"),
        ("-summary_metrics.mark.version", "42103"),
    ],
)
@pytest.mark.usefixtures("backend")
def test_an_order_sorts_runs(family: str, order: str, expected: str) -> None:
    assert "".join(run.id[1] for run in wandb.Api().runs(family, order=order)) == expected


@pytest.mark.parametrize(("lazy", "asked_again"), [(False, 0), (True, 5)])
def test_pages_hold_the_config_unless_lazy(backend: WandbBackend, family: str, lazy: bool, asked_again: int) -> None:
    pages, single = backend.count("Runs"), backend.count("Run")
    runs = wandb.Api().runs(family, per_page=2, lazy=lazy)

    assert [(run.config["n"], run.state, run.historyLineCount) for run in runs] == [
        (number, "failed" if number == 4 else "finished", 1) for number in range(5)
    ]
    assert (backend.count("Runs") - pages, backend.count("Run") - single) == (3, asked_again)


@pytest.mark.usefixtures("backend")
def test_a_project_without_runs_does_not_exist() -> None:
    with pytest.raises(ValueError, match="Could not find project never"):
        list(wandb.Api().runs("ada/never"))


# Artifacts


def test_the_same_content_is_the_same_version_and_takes_the_aliases(backend: WandbBackend, project: str) -> None:
    with start(project, "one") as run:
        first = run.log_artifact(artifact("data", train="1"), aliases=["best"]).wait()
        second = run.log_artifact(artifact("data", train="2")).wait()
        uploads = backend.count("upload")
        again = run.log_artifact(artifact("data", train="1"), aliases=["again"]).wait()
        assert backend.count("upload") == uploads

    assert [one.version for one in (first, second, again)] == ["v0", "v1", "v0"]
    held = backend.artifact(f"{project}/data:v0")
    assert held is backend.artifact(f"{project}/data:best")
    assert held is backend.artifact(f"{project}/data:again")
    assert held is not None
    assert (held.files, held.metadata) == ({"train.jsonl": b"1"}, {"rows": 1})


def test_of_bytes_that_were_told_of_before_nothing_is_uploaded_until_all_versions_with_them_are_deleted(
    backend: WandbBackend, project: str
) -> None:
    def log(*names: str) -> None:
        with start(project, "run") as run:
            artifact = wandb.Artifact("data", type="dataset")
            for name in names:
                with artifact.new_file(name, "w") as file:
                    file.write(name)
            run.log_artifact(artifact).wait()

    backend.corrupt("a.txt", lambda _: None)
    log("a.txt", "b.txt")
    log("a.txt", "c.txt")
    backend.heal()
    log("a.txt", "d.txt")
    newest = backend.artifact(f"{project}/data")
    assert newest is not None
    assert newest.files == {"d.txt": b"d.txt"}
    listed = {file.name: file.size for file in wandb.Api().artifact(f"{project}/data:latest").files()}
    assert listed == {"a.txt": 5, "d.txt": 5}
    for version in wandb.Api().artifacts("dataset", f"{project}/data"):
        version.delete(delete_aliases=True)
    log("a.txt", "d.txt")
    newest = backend.artifact(f"{project}/data")
    assert newest is not None
    assert newest.files == {"a.txt": b"a.txt", "d.txt": b"d.txt"}


def test_latest_moves_to_a_new_version(backend: WandbBackend, project: str) -> None:
    with start(project, "one") as run:
        for text in "12":
            run.log_artifact(artifact("data", train=text, same="same")).wait()

    held = backend.artifact(f"{project}/data")
    assert held is not None
    assert (held.name, held.aliases) == ("data:v1", ["latest"])
    assert held.files == {"train.jsonl": b"2", "same.jsonl": b"same"}
    assert wandb.Api().artifact(f"ada/{project}/data:v0").aliases == []


def test_lineage_says_who_logged_and_who_used(backend: WandbBackend, project: str) -> None:
    with start(project, "maker") as run:
        run.log_artifact(artifact("data", train="1")).wait()
    with start(project, "user") as run:
        run.use_artifact("data:latest")
        run.use_artifact(artifact("draft", train="2"))

    api = wandb.Api()
    data, draft = api.artifact(f"ada/{project}/data:v0"), api.artifact(f"ada/{project}/draft:v0")
    maker = data.logged_by()
    assert maker is not None
    assert maker.id == "maker"
    assert [run.id for run in data.used_by()] == ["user"]
    assert draft.logged_by() is None
    assert [run.id for run in draft.used_by()] == ["user"]
    held = backend.run("ada", project, "user")
    assert held is not None
    assert [one.name for one in held.used] == ["data:v0", "draft:v0"]


def test_an_artifact_downloads_and_its_metadata_changes(backend: WandbBackend, project: str, tmp_path: Path) -> None:
    with start(project, "one") as run:
        run.log_artifact(artifact("data", train="1", test="2")).wait()

    found = wandb.Api().artifact(f"ada/{project}/data:latest")
    root = Path(found.download(root=str(tmp_path)))
    assert {path.name: path.read_text() for path in root.iterdir()} == {"train.jsonl": "1", "test.jsonl": "2"}
    found.aliases.append("prod")
    found.metadata["seen"] = True
    found.save()

    held = backend.artifact(f"{project}/data:prod")
    assert held is not None
    assert held.metadata == {"rows": 2, "seen": True}


def test_a_logged_table_comes_back(backend: WandbBackend, project: str) -> None:
    with start(project, "one") as run:
        run.log({"samples": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])})

    held = backend.artifact(f"{project}/run-one-samples")
    assert held is not None
    assert list(held.files) == ["samples.table.json"]
    table = wandb.Api().artifact(f"ada/{project}/run-one-samples:v0").get("samples")
    assert isinstance(table, wandb.Table)
    assert table.data == [[1, "x"], [2, "y"]]


def test_a_link_puts_the_version_into_the_registry(backend: WandbBackend, project: str) -> None:
    with start(project, "one") as run:
        made = run.log_artifact(artifact("data", train="1"))
        linked = run.link_artifact(made, f"wandb-registry-model/{project}", aliases=["prod"])

    assert linked is not None
    assert linked.qualified_name == f"rockets-org/wandb-registry-model/{project}:v0"
    held = backend.artifact(f"rockets-org/wandb-registry-model/{project}:prod")
    assert held is backend.artifact(f"{project}/data")


def test_an_offline_run_arrives_with_its_artifacts_when_synced(backend: WandbBackend, project: str) -> None:
    with start(project, "one", config={"a": 1}, mode="offline") as run:
        run.log({"loss": 1.0, "_timestamp": 1000.0})
        run.log_artifact(artifact("data", train="1"), aliases=["best"])
        folder = run.settings.sync_dir
    assert backend.runs(project) == []

    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    wandb_command = Path(sys.executable).with_name("wandb")
    subprocess.run([wandb_command, "sync", folder], env=environment, check=True, capture_output=True)

    (held,) = backend.runs(project)
    assert (held.state, held.config) == ("finished", {"a": 1})
    assert [(row["loss"], row["_timestamp"]) for row in held.history] == [(1.0, 1000.0)]
    arrived = backend.artifact(f"{project}/data:best")
    assert arrived is not None
    assert arrived.created_by is held


# Failures


@pytest.mark.parametrize("how", [{"status": 503}, {"drop": True}])
def test_a_passing_failure_is_tried_again(backend: WandbBackend, project: str, how: dict[str, Any]) -> None:
    failure = backend.fail("file_stream", times=1, **how)
    with start(project, "one") as run:
        run.log({"loss": 1})

    (held,) = backend.runs(project)
    assert (failure.hits, held.state, len(held.history)) == (1, "finished", 1)


def test_a_refused_history_post_ends_the_stream_silently(backend: WandbBackend, project: str) -> None:
    backend.fail("file_stream", status=404)
    with start(project, "one") as run:
        run.log({"loss": 1})

    (held,) = backend.runs(project)
    assert (held.state, held.history) == ("running", [])


@pytest.mark.parametrize("operation", ["createArtifact", "commitArtifact", "upload"])
def test_a_refused_artifact_raises_when_waited_for(backend: WandbBackend, project: str, operation: str) -> None:
    with start(project, "one") as run:
        backend.fail(operation, status=403)
        with pytest.raises(ValueError, match=r"403|failed"):
            run.log_artifact(artifact("data", train="1")).wait()

    assert backend.artifact(f"{project}/data") is None


def test_a_failure_may_begin_late_and_pick_its_requests(backend: WandbBackend, project: str) -> None:
    def is_two(request: Request) -> bool:
        return request.run == "two"

    failure = backend.fail("RunHistoryKeys", status=403, after=1, when=is_two)
    for run_id in ("one", "two"):
        with start(project, run_id):
            pass
    api = wandb.Api()
    one, two = api.run(f"ada/{project}/one"), api.run(f"ada/{project}/two")

    assert [one.lastHistoryStep, one.lastHistoryStep, two.lastHistoryStep] == [-1, -1, -1]
    with pytest.raises(WandbApiFailedError, match="403"):
        _ = two.lastHistoryStep
    backend.heal(failure)
    assert two.lastHistoryStep == -1


def test_a_download_that_fails_goes_to_the_second_address(backend: WandbBackend, project: str, tmp_path: Path) -> None:
    with start(project, "one") as run:
        run.log_artifact(artifact("data", train=project)).wait()
    found = wandb.Api().artifact(f"ada/{project}/data:latest")
    backend.fail("download", status=403, when=lambda request: request.path.startswith("/storage/artifact"))

    assert (Path(found.download(root=str(tmp_path), skip_cache=True)) / "train.jsonl").read_text() == project


def test_late_answers_are_waited_for(backend: WandbBackend, project: str) -> None:
    backend.latency = 0.05
    backend.fail("upsertBucket", delay=0.3, times=1)
    began = time.monotonic()
    try:
        with start(project, "one"):
            pass
    finally:
        backend.latency = 0.0

    assert time.monotonic() - began > 0.4
    assert backend.runs(project)[0].state == "finished"


def test_a_wrong_key_is_refused(backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    try:
        with pytest.raises(AuthenticationError, match="not logged in"):
            wandb.login(verify=True)
        with pytest.raises(AuthenticationError, match="not logged in"):
            wandb.Api()
        with pytest.raises(CommError, match="not logged in"):
            start(project, "one")
    finally:
        wandb.teardown()
    assert backend.project(project) is None


def test_requests_are_counted_by_operation_and_by_root_field(backend: WandbBackend, project: str) -> None:
    seen = len(backend.requests)
    with start(project, "one") as run:
        run.log({"loss": 1})

    of_the_run = [request for request in backend.requests[seen:] if request.run == "one"]
    assert {request.operation for request in of_the_run} == {"UpsertBucket", "CreateRunFiles", "file_stream"}
    assert backend.count("UpsertBucket") == backend.count("upsertBucket")
    assert all(request.method == "POST" for request in of_the_run)


def test_stopping_leaves_no_thread_even_while_a_request_waits() -> None:
    before = set(threading.enumerate())
    with serving() as backend:
        backend.fail("*", delay=60)
        with socket.create_connection(("127.0.0.1", int(backend.url.rpartition(":")[2]))) as client:
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: loopback\r\n\r\n")
            while not backend.requests:
                time.sleep(0.01)
            began = time.monotonic()
            backend.stop()

    assert time.monotonic() - began < 30
    assert set(threading.enumerate()) <= before


def test_a_report_and_a_workspace_come_back_change_in_place_and_go(backend: WandbBackend, project: str) -> None:
    backend.unknown_fields.clear()
    start(project, "one").finish()
    report = Report(project=project, entity="ada", title="One", blocks=[MarkdownBlock("text")]).save()
    view = Workspace(entity="ada", project=project, name="Two", sections=[Section("Charts", is_open=True)]).save()

    found = Report.from_url(report.url)
    assert (found.title, found.blocks) == ("One", [MarkdownBlock("text")])
    assert [section.name for section in Workspace.from_url(view.url).sections] == ["Charts"]
    assert [one.display_name for one in wandb.Api().reports(f"ada/{project}")] == ["One"]

    found.title = "Another"
    found.save()
    view.save()
    assert [one.display_name for one in backend.views(project, "runs")] == ["Another"]
    assert len(backend.views(project, "project-view")) == 1

    assert report.delete()
    assert backend.views(project, "runs") == []
    assert backend.unknown_fields == set()
