"""A run made offline and uploaded by `wandb sync` is the run that an online sync makes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import ft_sync
from ft_sync.sandbox import World, samples

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.wandb_backend import Run, WandbBackend


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
