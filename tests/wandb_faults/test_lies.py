"""A W&B that answers as if all was well and keeps something else: the sync notices, and the next one repairs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync import arrival
from ft_sync.sandbox import World, samples
from tests.cli.conftest import Ftsync, ftsync
from tests.truth import Held, differences, held
from tests.wandb_backend import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.wandb_backend import WandbBackend
    from tests.wandb_backend.server import Request

    Lie = Callable[[WandbBackend], object]

__all__ = ["ftsync"]

HISTORY, SUMMARY, LOG = "wandb-history.jsonl", "wandb-summary.json", "output.log"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "PAUSES", (0.02, 0.05))


@pytest.fixture
def world() -> World:
    return World(samples.many(2))


def some_of(names: Iterable[str], *others: str) -> list[Any]:
    """The names as parameters; the tests with the others are run only with `-m faults`."""
    return [pytest.param(name, marks=pytest.mark.faults if name in others else ()) for name in names]


def config(change: Callable[[dict[str, Any]], object]) -> Lie:
    """Keep another config than is sent."""

    def asked(body: dict[str, Any]) -> None:
        if sent := body["variables"].get("config"):
            kept = json.loads(sent)
            change(kept)
            body["variables"]["config"] = json.dumps(kept)

    return lambda backend: backend.lie("UpsertBucket", asked=asked)


def variable(name: str) -> Lie:
    """Keep nothing of what is sent for a property of a run."""
    return lambda backend: backend.lie("UpsertBucket", asked=lambda body: body["variables"].pop(name, None))


def summary(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Lie:
    """Keep another summary than is sent."""

    def asked(body: dict[str, Any]) -> None:
        if SUMMARY in body.get("files", {}):
            sent = body["files"][SUMMARY]["content"]
            sent[-1] = json.dumps(change(json.loads(sent[-1])))

    return lambda backend: backend.lie("file_stream", asked=asked)


def stream(name: str, change: Callable[[list[str]], list[str]]) -> Lie:
    """Keep other lines of a stream than are sent."""

    def asked(body: dict[str, Any]) -> None:
        if name in body.get("files", {}):
            body["files"][name]["content"] = change(body["files"][name]["content"])

    return lambda backend: backend.lie("file_stream", asked=asked)


def no_lineage(attribute: str) -> Lie:
    """Forget what runs use or log."""

    def lie(backend: WandbBackend) -> object:
        def done(_: Request) -> None:
            for project in backend.store.projects.values():
                for run in project.runs.values():
                    for artifact in getattr(run, attribute):
                        artifact.used_by = [one for one in artifact.used_by if one is not run]
                    setattr(run, attribute, [])

        return backend.lie("*", done=done)

    return lie


def uncommitted(kind: str) -> Lie:
    """Go on listing the artifacts of a type, as drafts."""

    def lie(backend: WandbBackend) -> object:
        def done(_: Request) -> None:
            for artifact in [one for one in backend.store.objects.values() if isinstance(one, Artifact)]:
                if artifact.type == kind and artifact.state == "COMMITTED":
                    artifact.collection.remove(artifact)
                    artifact.collection.pending.append(artifact)
                    artifact.state = "PENDING"

        return backend.lie("CommitArtifact", done=done)

    return lie


def upload(name: str, change: Callable[[bytes], bytes]) -> Lie:
    """Keep other bytes than are uploaded as a file."""

    return lambda backend: backend.lie("upload", asked=change, when=lambda request: request.path.endswith(name))


def manifest(change: Callable[[dict[str, Any]], object]) -> Lie:
    """Keep another list of an artifact's files than is uploaded."""

    def asked(body: bytes) -> bytes:
        kept = json.loads(body)
        change(kept["contents"])
        return json.dumps(kept).encode()

    return lambda backend: backend.lie("upload", asked=asked, when=lambda one: one.path.endswith("wandb_manifest.json"))


def without_table(contents: dict[str, Any]) -> None:
    for name in [name for name in contents if name.endswith(".table.json")]:
        del contents[name]


def only_the_mark(kept: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kept.items() if key.startswith("_") or key == "ftsync"}


LIES: dict[str, tuple[Lie, str]] = {
    "config": (variable("config"), "config.fine_tune_job_id"),
    "a key of the config": (config(lambda kept: kept.pop("seed", None)), "config.seed"),
    "a key within the config": (
        config(lambda kept: kept.get("hyperparameters", {}).get("value", {}).pop("n_epochs", None)),
        "config.hyperparameters.n_epochs",
    ),
    "a number in the config": (config(lambda kept: kept.update(n_train={"value": 7})), "config.n_train"),
    "a key too many in the config": (
        config(lambda kept: kept.get("hyperparameters", {}).get("value", {}).update(theirs=1)),
        "config.hyperparameters.theirs (which was not written)",
    ),
    "summary": (summary(only_the_mark), "summary."),
    "summary and mark": (summary(lambda _: {}), "summary."),
    "a key of the summary": (summary(lambda kept: {**kept, "status": None}), "summary.status"),
    "a last value": (summary(lambda kept: {**kept, "train_loss": {"min": 0, "last": 0}}), "summary.train_loss.min"),
    "tags": (variable("tags"), "tag openai"),
    "display name": (variable("displayName"), "name"),
    "console log": (stream(LOG, lambda _: []), "0 of 13 lines of the console log"),
    "a line of the console log": (stream(LOG, lambda lines: lines[:-1]), "12 of 13 lines of the console log"),
    "all rows": (stream(HISTORY, lambda _: []), "0 of 4 rows"),
    "the last row": (stream(HISTORY, lambda rows: rows[:-1]), "3 of 4 rows"),
    "the first row": (stream(HISTORY, lambda rows: rows[1:]), "3 of 4 rows"),
    "a doubled row": (stream(HISTORY, lambda rows: [*rows, rows[-1]]), "5 of 4 rows"),
    "inputs": (no_lineage("used"), "artifact train-"),
    "outputs": (no_lineage("logged"), "artifact model_metadata@"),
    "a file of an input": (manifest(without_table), "bytes)"),
    "the file of an output": (manifest(lambda contents: contents.pop("model_metadata.json", None)), "bytes)"),
    "the commit of an input": (uncommitted("training_files"), "it did not commit the artifact train-"),
    "the commit of an output": (uncommitted("model"), "artifact model_metadata@"),
    "half of a file": (upload("events.jsonl", lambda body: body[: len(body) // 2]), "file fine_tuning/events.jsonl ("),
    "an empty file": (upload("job.json", lambda _: b""), "file fine_tuning/job.json (0 of "),
}
"""What W&B keeps otherwise, and how that is named."""


def ids(ftsync: Ftsync) -> list[str]:
    return ftsync("list", "-q").out.split()


_truth: list[Held] = []


def truth(ftsync: Ftsync, backend: WandbBackend, project: str) -> Held:
    """What W&B holds after a sync without lies; found out once."""
    if not _truth:
        assert ftsync("sync", "--project", f"{project}-true").code == 0
        _truth.append(held(backend, f"{project}-true"))
    return _truth[0]


@pytest.mark.parametrize("what", some_of(LIES, "all rows", "the first row", "a number in the config", "an empty file"))
def test_what_wandb_did_not_keep_is_named_and_repaired_by_the_next_sync(
    ftsync: Ftsync, backend: WandbBackend, project: str, what: str
) -> None:
    true = truth(ftsync, backend, project)
    lie, named = LIES[what]
    lie(backend)
    said = ftsync("sync", "--json")
    assert said.code == 3
    messages = [str(outcome) for outcome in said.json["outcomes"]]
    assert [named in message for message in messages] == [True, True], messages
    backend.heal()
    assert [row[8] for row in ftsync("list").rows] == ["incomplete"] * 2
    assert ftsync("sync").code == 0
    # The same two runs as without the lie, under whatever id, and none besides.
    assert len(backend.runs(project)) == 2
    assert differences(true, held(backend, project)) == {}
    assert "2 skipped" in ftsync("sync").err


NATIVE_LIES: dict[str, tuple[Lie, str]] = {
    "a key of the config": (config(lambda kept: kept.pop("seed", None)), "config.seed"),
    "summary": (summary(lambda kept: {**only_the_mark(kept), "kept": kept.get("kept")}), "(summary)"),
    "tags": (variable("tags"), "tag supervised"),
    "console log": (stream(LOG, lambda _: []), "0 of 13 lines of the console log"),
    "outputs": (no_lineage("logged"), "artifact model_metadata@"),
}


@pytest.mark.parametrize("what", some_of(NATIVE_LIES, "tags", "outputs"))
def test_what_wandb_did_not_keep_of_what_was_added_to_a_run_of_openais_own_integration_is_repaired(
    ftsync: Ftsync, backend: WandbBackend, project: str, what: str
) -> None:
    job_id = ids(ftsync)[0]
    with wandb.init(project=project, id=job_id, tags=["openai/fine-tune"], config={"theirs": {"a": 1}}) as native:
        native.log({"theirs": 9.0})
        native.summary["kept"] = "yes"
    lie, named = NATIVE_LIES[what]
    lie(backend)
    said = ftsync("sync", "--job", job_id, "--json")
    assert (said.code, named in str(said.json["outcomes"])) == (3, True), said
    backend.heal()
    assert ftsync("sync", "--job", job_id).code == 0
    (run,) = backend.runs(project)
    assert (run.config["theirs"], run.summary["kept"], len(run.history)) == ({"a": 1}, "yes", 1)
    assert (len(run.console), run.state, "supervised" in run.tags) == (13, "finished", True)


@pytest.mark.parametrize("tag", ["ftsync-replaced", "openai/fine-tune"])
def test_a_tag_that_was_not_written_and_means_something_is_named(
    ftsync: Ftsync, backend: WandbBackend, project: str, tag: str
) -> None:
    def asked(body: dict[str, Any]) -> None:
        if tags := body["variables"].get("tags"):
            tags.append(tag)

    backend.lie("UpsertBucket", asked=asked)
    said = ftsync("sync")
    assert (said.code, said.out.count(f"tag {tag} (which was not written)")) == (3, 2)
    backend.heal()
    assert ftsync("sync").code == 0
    assert "2 skipped" in ftsync("sync").err
    assert {run.state for run in backend.runs(project)} == {"finished"}


# The end of a run


def no_end(body: dict[str, Any]) -> None:
    body.pop("complete", None)


def test_an_end_that_got_lost_is_sent_again(ftsync: Ftsync, backend: WandbBackend, project: str) -> None:
    true = truth(ftsync, backend, project)
    lie = backend.lie("file_stream", asked=no_end, times=2, when=lambda request: b'"complete"' in request.body)
    assert ftsync("sync").code == 0
    assert lie.hits == 2
    assert {run.id: run.state for run in backend.runs(project)} == dict.fromkeys(ids(ftsync), "finished")
    assert differences(true, held(backend, project)) == {}


def test_a_run_whose_end_never_arrives_is_incomplete_and_only_ended_by_the_next_sync(
    ftsync: Ftsync, backend: WandbBackend, project: str
) -> None:
    true = truth(ftsync, backend, project)
    backend.lie("file_stream", asked=no_end)
    said = ftsync("sync")
    assert said.code == 3
    assert said.out.count("has missed the end of the run") == 2
    assert {run.state for run in backend.runs(project)} == {"running"}
    wandb.teardown()  # as in a process of its own
    assert "incomplete" in ftsync("list").out
    backend.heal()
    assert ftsync("sync").code == 0
    assert {run.id: run.state for run in backend.runs(project)} == dict.fromkeys(ids(ftsync), "finished")
    assert differences(true, held(backend, project)) == {}


def test_an_end_that_is_listed_late_is_waited_for(ftsync: Ftsync, backend: WandbBackend, project: str) -> None:
    def late(node: dict[str, Any]) -> None:
        node["state"] = "running"

    backend.lie("Runs", answered=listing(late), times=2)
    backend.requests.clear()
    assert ftsync("sync").code == 0
    assert (backend.count("RunResumeStatus"), len(backend.runs(project))) == (0, 2)  # none was opened again


# A listing that lags behind


def listing(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    """Change each run of a listing; one for which `change` returns True is left out."""

    def answered(body: dict[str, Any]) -> None:
        runs = ((body["data"] or {}).get("project") or {}).get("runs")
        if runs is not None:
            runs["edges"] = [edge for edge in runs["edges"] if not change(edge["node"])]

    return answered


def without_mark(node: dict[str, Any]) -> None:
    summary = json.loads(node["summaryMetrics"])
    summary.pop("ftsync", None)
    node["summaryMetrics"] = json.dumps(summary)


def before_the_first_row(node: dict[str, Any]) -> None:
    config = json.loads(node["config"])
    node["config"] = json.dumps({key: config[key] for key in config if key == "fine_tune_job_id"})
    node.update(summaryMetrics="{}", historyLineCount=0, state="crashed", tags=[], logLineCount=0)


LAGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda _: True,
    "no mark": without_mark,
    "the run as it was created": before_the_first_row,
    "some rows": lambda node: node.update(historyLineCount=2),
}


@pytest.mark.parametrize("lag", LAGS)
def test_a_listing_that_lags_behind_for_long_causes_no_second_run(
    ftsync: Ftsync, backend: WandbBackend, project: str, lag: str
) -> None:
    true = truth(ftsync, backend, project)
    backend.lie("Runs", answered=listing(LAGS[lag]))
    assert ftsync("sync").code == 0
    again = ftsync("sync")
    assert (again.code, again.out.count("already complete")) == (0, 2)
    backend.heal()
    assert ftsync("sync").out.count("already complete") == 2
    assert {run.id for run in backend.runs(project)} == set(ids(ftsync))
    assert differences(true, held(backend, project)) == {}


@pytest.mark.parametrize("lag", some_of(LAGS, "some rows", "no mark"))
def test_a_run_that_is_complete_and_listed_late_is_rewritten_only_when_that_is_asked_for(
    ftsync: Ftsync, backend: WandbBackend, project: str, lag: str
) -> None:
    assert ftsync("sync").code == 0
    backend.lie("Runs", answered=listing(LAGS[lag]))
    assert ftsync("resync", "--overwrite").code == 0
    backend.heal()
    assert {run.id for run in backend.runs(project)} == {f"{job_id}-r2" for job_id in ids(ftsync)}


# A server that does not list everything


PARTS = ("logLineCount", "files", "inputArtifacts", "outputArtifacts")


def older(status: int) -> Callable[[WandbBackend], object]:
    """A server that refuses to list these parts of runs."""
    body = '{"errors": [{"message": "Cannot query field \\"logLineCount\\" on type \\"Run\\"."}]}'

    def asks_parts(request: Request) -> bool:
        return b"logLineCount" in request.body

    return lambda backend: backend.fail("Runs", status=status, body=body, when=asks_parts)


def null(backend: WandbBackend) -> object:
    """A server that answers null for what it does not know."""
    return backend.lie("Runs", answered=listing(lambda node: node.update(dict.fromkeys(PARTS))))


OLDER = {"200": older(200), "400": older(400), "422": older(422), "null": null}


@pytest.mark.parametrize("server", some_of(OLDER, "400", "422"))
def test_what_an_older_server_does_not_list_is_asked_run_by_run(
    ftsync: Ftsync, backend: WandbBackend, project: str, server: str
) -> None:
    true = truth(ftsync, backend, project)
    OLDER[server](backend)
    assert ftsync("sync").code == 0
    assert differences(true, held(backend, project)) == {}
    no_lineage("used")(backend)
    said = ftsync("resync", "--overwrite")
    assert (said.code, said.out.count("artifact train-")) == (3, 2)


def test_an_artifact_whose_state_a_server_does_not_return_counts(ftsync: Ftsync, backend: WandbBackend) -> None:
    def stateless(node: dict[str, Any]) -> None:
        for field in ("inputArtifacts", "outputArtifacts"):
            for edge in node.get(field, {}).get("edges", ()):
                edge["node"]["state"] = None

    backend.lie("Runs", answered=listing(stateless))
    assert ftsync("sync").code == 0


def test_what_a_server_does_not_return_at_all_is_noted(ftsync: Ftsync, backend: WandbBackend) -> None:
    null(backend)
    backend.fail("RunConsoleLogPage", status=400)
    said = ftsync("sync")
    assert said.code == 0
    assert said.err.count("not compared, since this W&B server does not return it: console log") == 1


def test_a_refusal_to_list_runs_is_not_taken_for_an_older_server(ftsync: Ftsync, backend: WandbBackend) -> None:
    backend.fail("Runs", status=403, when=lambda request: b"logLineCount" in request.body)
    assert ftsync("sync").code == 4
    asked = [request for request in backend.requests if request.is_about("Runs")]
    assert [b"logLineCount" in request.body for request in asked] == [False, True]  # planned, then verified
