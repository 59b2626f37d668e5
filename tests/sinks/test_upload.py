"""A run made offline and uploaded by `wandb sync` is the run that an online sync makes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import ft_sync
from ft_sync.sandbox import World, samples
from tests.wandb_backend import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.wandb_backend import Run, WandbBackend


def table_of(backend: WandbBackend, run: Run, key: str) -> Any:  # noqa: ANN401 - JSON
    """The table that a run shows, found as the server finds it: by the reference to an artifact's file."""
    scheme, _, path = run.summary[key]["artifact_path"].partition("://")
    owner, _, name = path.partition("/")
    identity = base64.b64encode(bytes.fromhex(owner)).decode() if scheme == "wandb-artifact" else owner
    artifact = backend.store.objects[identity]
    assert isinstance(artifact, Artifact)
    assert artifact in run.used
    return json.loads(artifact.files[name])


def facts(run: Run) -> dict[str, object]:
    """What a person finds in a run, without what differs by the clock."""
    summary = {key: value for key, value in run.summary.items() if not key.startswith("_")}
    return {
        "name": run.display_name,
        "state": run.state,
        "job_type": run.job_type,
        "tags": sorted(run.tags),
        "config": dict(run.config),
        "rows": [{key: value for key, value in row.items() if key != "_runtime"} for row in run.history],
        "summary": {key: value for key, value in summary.items() if key not in {"ftsync", "train_data", "valid_data"}},
        "tables": {key: value["nrows"] for key, value in summary.items() if key in {"train_data", "valid_data"}},
        "digest": summary["ftsync"]["digest"],
        "inputs": sorted((artifact.digest, *sorted(artifact.aliases)) for artifact in run.used),
        "files": {name: blob.data for name, blob in run.files.items() if name.startswith("fine_tuning/")},
        "console": run.console,
        "outputs": sorted(artifact.digest for artifact in run.logged if artifact.type == "model"),
    }


def test_offline_and_online_give_the_same_run(
    workspace: Path, world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sample,) = [job for job in samples.finished_jobs() if job.id == "ftjob-1LdB563SfkhvH8pUo541MPmi"]
    world.add(sample)
    ft_sync.sync(sample.id, mode="offline")
    assert backend.project(project) is None
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    (folder,) = (workspace / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "sync", "--yes", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (uploaded,) = backend.runs(project)

    ft_sync.sync(sample.id, project=f"{project}-online")
    (online,) = backend.runs(f"{project}-online")

    assert facts(uploaded) == facts(online)
    assert len(online.history) == 90
    assert len(online.console) > 90
    assert len(online.files) >= 4
    tables = [table_of(backend, run, "train_data") for run in (uploaded, online)]
    assert tables[0] == tables[1]
    assert len(tables[0]["data"]) == 120
