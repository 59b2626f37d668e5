"""What W&B holds of a project's jobs, so that two syncs can be compared: nothing lost, nothing doubled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.wandb_backend import Artifact, Run, WandbBackend

Held = dict[str, dict[str, Any]]
"""What is held, by what the runs are named after and by `collection:alias`."""


def held(backend: WandbBackend, project: str) -> Held:
    """Return what the runs hold and what each alias names; more than one run of a job is an error."""
    runs: Held = {}
    for run in backend.runs(project):
        assert run.display_name not in runs, f"{run.display_name} has more than one run"
        runs[run.display_name] = of_run(run)
    return runs | _aliases(backend, project)


def differences(expected: Held, found: Held) -> dict[str, Any]:
    """Return, by the same names, what differs: what was expected and what was found of it."""
    return {
        name: {
            key: (expected.get(name, {}).get(key), found.get(name, {}).get(key))
            for key in expected.get(name, {}) | found.get(name, {})
            if expected.get(name, {}).get(key) != found.get(name, {}).get(key)
        }
        for name in expected | found
        if expected.get(name) != found.get(name)
    }


def of_run(run: Run) -> dict[str, Any]:
    """Return all that a run holds but for what tells when and under which id it was written."""
    summary = {key: value for key, value in run.summary.items() if key[0] != "_"}
    tables = {key: summary.pop(key) for key in ("train_data", "valid_data") if key in summary}
    mark = summary.pop("ftsync", None)
    return {
        "history": [{key: value for key, value in row.items() if key != "_runtime"} for row in run.history],
        "config": run.config,
        "summary": summary,
        "mark": {key: value for key, value in mark.items() if key != "time"} if isinstance(mark, dict) else mark,
        "tables": {
            name: {key: value for key, value in table.items() if key != "artifact_path"}
            for name, table in tables.items()
        },
        "named": (run.job_type, sorted(run.tags), run.notes, run.state),
        "console": run.console,
        "files": {name: blob.data for name, blob in run.files.items() if name.startswith("fine_tuning/")},
        "inputs": sorted((artifact.collection.name, artifact.type) for artifact in _there(run.used)),
        "outputs": sorted((artifact.collection.name, artifact.type) for artifact in _there(run.logged)),
    }


def _there(artifacts: list[Artifact]) -> list[Artifact]:
    """Return those that were committed: nobody sees what a writer that was killed had only begun to upload."""
    return [artifact for artifact in artifacts if artifact.state == "COMMITTED"]


def _aliases(backend: WandbBackend, project: str) -> Held:
    found = backend.project(project)
    return {
        f"{name}:{alias}": _of_artifact(artifact)
        for name, collection in (found.collections if found else {}).items()
        for alias, artifact in collection.aliases.items()
    }


def _of_artifact(artifact: Artifact) -> dict[str, Any]:
    files = dict(artifact.files)
    if "model_metadata.json" in files:
        model = {key: value for key, value in json.loads(files.pop("model_metadata.json")).items() if key != "run_id"}
        files["model_metadata.json"] = json.dumps(model, sort_keys=True).encode()
    metadata = {key: value for key, value in artifact.metadata.items() if key != "run_id"}
    return {"type": artifact.type, "files": files, "metadata": metadata, "state": artifact.state}
