"""What W&B's documentation does with its class, with the import alone changed, and the Python of our own pages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ft_sync.sandbox import World, samples
from ft_sync.sandbox.world import Live
from tests.pages import PAGES, blocks, name_of
from tests.wandb_backend import WandbBackend, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("workspace")

THEIRS = "from wandb.integration.openai.fine_tuning import WandbLogger\n"
OURS = "from ft_sync import WandbLogger\n"
DONE = "🎉 wandb sync completed successfully\n"

BY_ID = """
from wandb.integration.openai.fine_tuning import WandbLogger

print(WandbLogger.sync(fine_tune_job_id="JOB", project="PROJECT"))
print(WandbLogger.sync(fine_tune_job_id="JOB", overwrite=True, project="PROJECT"))
"""

NEWEST_THEN_ALL = """
from openai import OpenAI
from wandb.integration.openai.fine_tuning import WandbLogger

more = {"tags": ["nightly"]}
print(WandbLogger.sync(openai_client=OpenAI(), num_fine_tunes=2, project="PROJECT"))
print(WandbLogger.sync(
    fine_tune_job_id=None,
    num_fine_tunes=None,
    project="PROJECT",
    entity=None,
    overwrite=False,
    model_artifact_name="model-metadata",
    model_artifact_type="model",
    **more
))
"""

TEAM = """
from wandb.integration.openai.fine_tuning import WandbLogger

WandbLogger.sync(entity="team-rocket", project="PROJECT")
"""

WAIT_AND_USE_THE_MODEL = """
import glob, json
import wandb
from wandb.integration.openai.fine_tuning import WandbLogger

WandbLogger.sync(fine_tune_job_id="JOB", project="PROJECT", wait_for_job_success=True)

run = wandb.init(project="PROJECT", job_type="eval")
for version in ("JOB", "latest", "v0"):
    artifact = wandb.run.use_artifact(f"ada/PROJECT/model_metadata:{version}", type="model")
    with open(glob.glob(f"{artifact.download()}/*.json")[0]) as file:
        print(json.load(file)["fine_tuned_model"])
wandb.log({"eval/accuracy": 0.5})
wandb.finish()
"""

INTO_THE_ACTIVE_RUN = """
import wandb
from wandb.integration.openai.fine_tuning import WandbLogger

run = wandb.init(project="PROJECT")
print(WandbLogger.sync(fine_tune_job_id="JOB", project="PROJECT"))
print(wandb.run is run)
"""


def ours(script: str, project: str, job_id: str = "") -> str:
    """A documented script with the import changed."""
    assert script.count(THEIRS) == 1
    return script.replace(THEIRS, OURS).replace("PROJECT", project).replace("JOB", job_id)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run a script here, where everything has been imported before, and return what it prints."""

    def run(script: str) -> str:
        capsys.readouterr()
        exec(compile(script, "script.py", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run


def printed_at_its_end(script: str, folder: Path) -> str:
    """Run a script as a process of its own, whose end is part of it, and return what it prints."""
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "-X", "utf8", path], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_job_and_the_same_again_overwritten(
    printed: Callable[[str], str], world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(2))
    wanted = world.jobs[1].id
    assert printed(ours(BY_ID, project, wanted)) == 2 * DONE
    assert [run.id for run in backend.runs(project)] == [f"{wanted}-r2"]


def test_the_newest_and_then_all(
    printed: Callable[[str], str], world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(5))
    assert printed(ours(NEWEST_THEN_ALL, project)) == 2 * DONE
    ids = [job.id for job in world.jobs]
    assert {run.id: "nightly" in run.tags for run in backend.runs(project)} == dict.fromkeys(
        ids[:2], False
    ) | dict.fromkeys(ids[2:], True)


def test_into_a_teams_account(printed: Callable[[str], str], world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(1))
    printed(ours(TEAM, project))
    assert [run.id for run in backend.runs(project, "team-rocket")] == [world.jobs[0].id]


def test_a_job_is_waited_for_and_its_model_is_used(
    workspace: Path, world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTSYNC_POLL_INTERVAL", "0.1")
    (job,) = samples.many(1)
    now = time.time()
    world.add(replace(job, live=Live(now - 2, now - 1, now + 4)))
    script = ours(WAIT_AND_USE_THE_MODEL, project, job.id)
    assert printed_at_its_end(script, workspace) == 3 * f"{job.job['fine_tuned_model']}\n"
    evaluation = next(run for run in backend.runs(project) if run.job_type == "eval")
    assert "model" in {artifact.type for artifact in evaluation.used}
    assert evaluation.summary["eval/accuracy"] == 0.5


def test_into_the_active_run(
    workspace: Path, world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    world.add(*samples.many(1))
    script = ours(INTO_THE_ACTIVE_RUN, project, world.jobs[0].id)
    assert printed_at_its_end(script, workspace) == f"{DONE}True\n"
    (run,) = backend.runs(project)
    assert (run.state, len(run.history), run.config["fine_tune_job_id"]) == ("finished", 4, world.jobs[0].id)


OUR_OWN = {name_of(page): [block.text for block in blocks(page, "python") if block.recipe is None] for page in PAGES}

EACH_BY_ITSELF = """
import json, sys

for block in json.load(sys.stdin):
    exec(compile(block, "a page", "exec"), {"__name__": "__main__"})
"""


@pytest.fixture
def wandb_of_the_page(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbBackend]:
    """A W&B server for one page alone, since all pages speak of the same project."""
    assert workspace.is_dir()
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", server.api_key)
        yield server


@pytest.mark.parametrize("page", [page for page, found in OUR_OWN.items() if found])
def test_the_python_of_a_page_runs(
    page: str, world: World, wandb_of_the_page: WandbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    world.add(*samples.many(1), samples.Supervised(id="ftjob-abc", created_at=1_700_000_000, steps=4, epochs=2).build())
    # What the pages take from W&B was brought there before.
    first = "import ft_sync\nft_sync.sync(project='fine-tuning')\n"
    script = json.dumps([first, *OUR_OWN[page]])
    done = subprocess.run(
        [sys.executable, "-c", EACH_BY_ITSELF], input=script, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    if page == "docs/mapping.md":
        (job,) = [job for job in world.jobs if job.id == "ftjob-abc"]
        models = [checkpoint["fine_tuned_model_checkpoint"] for checkpoint in reversed(job.checkpoints)]
        assert done.stdout.splitlines() == [job.job["fine_tuned_model"], str(models)]
    held = wandb_of_the_page.runs("fine-tuning")
    assert {run.id.removesuffix("-r2") for run in held if "ftsync" in run.summary} >= {"ftjob-abc"}
