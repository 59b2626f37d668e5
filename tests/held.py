"""What a run in the loopback W&B holds, so that two of them can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.wandb_backend import Run

TABLES = ("train_data", "valid_data")


def held(run: Run) -> dict[str, Any]:
    """All that a run holds but for what tells when and where it was written."""
    summary = {key: value for key, value in run.summary.items() if key[0] != "_" and key not in TABLES}
    mark = {key: value for key, value in summary.pop("ftsync").items() if key != "time"}
    return {
        "history": [{key: value for key, value in row.items() if key != "_runtime"} for row in run.history],
        "config": run.config,
        "summary": summary,
        "mark": mark,
        "tables": {
            name: {key: value for key, value in run.summary[name].items() if key != "artifact_path"}
            for name in TABLES
            if name in run.summary
        },
        "named": (run.display_name, run.job_type, sorted(run.tags), run.notes, run.state),
        "console": run.console,
        "files": {name: blob.data for name, blob in run.files.items() if name.startswith("fine_tuning/")},
        "inputs": sorted((artifact.collection.name, artifact.type) for artifact in run.used),
        "outputs": sorted((artifact.collection.name, artifact.type) for artifact in run.logged),
    }
