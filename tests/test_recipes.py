"""The files of docs/recipes.md do what the page says, run as they stand; only what installs something is left out."""

from __future__ import annotations

import configparser
import itertools
import json
import math
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ft_sync.cli.exits import MEANINGS
from ft_sync.sandbox import API_KEY, Live, Sandbox, World, samples, serve
from tests.pages import recipes
from tests.wandb_backend import WandbBackend, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ft_sync.sandbox import SampleJob

RECIPES = recipes()
SYSTEM_PATH = f"/usr/local/bin:/usr/bin:/bin:{sys.base_prefix}/bin"  # with a python3 in any case
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """A user's home on a machine that reaches both services; `variables` is what the page's file of keys holds."""

    home: Path
    variables: dict[str, str]
    world: World
    backend: WandbBackend
    project: str

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": f"{self.home}/.local/bin:{SYSTEM_PATH}"}

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | more
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def runs(self) -> dict[str, bool]:
        """The runs in W&B by their ids, and whether each is complete."""
        return {run.id: "ftsync" in run.summary for run in self.backend.runs(self.project)}


@pytest.fixture(scope="module")
def world() -> World:
    """Two jobs that have succeeded, for all recipes."""
    return World(samples.many(2))


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[Sandbox]:
    with serve(world) as server:
        yield server


@pytest.fixture(scope="module")
def backend() -> Iterator[WandbBackend]:
    with serving() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox, backend: WandbBackend) -> Place:
    project = f"recipe-{next(_numbers)}"
    programs = tmp_path / ".local" / "bin"
    programs.mkdir(parents=True)
    (programs / "ftsync").symlink_to(Path(sys.executable).with_name("ftsync"))  # as pipx does it
    addresses = {"OPENAI_BASE_URL": sandbox.url, "WANDB_BASE_URL": backend.url}
    values = {"OPENAI_API_KEY": API_KEY, "WANDB_API_KEY": backend.api_key, "WANDB_PROJECT": project}
    names = [line.partition("=")[0] for line in RECIPES["env"].splitlines()]
    variables = addresses | {name: values[name] for name in names}
    (tmp_path / ".config" / "ftsync").mkdir(parents=True)
    lines = [f"{name}={value}\n" for name, value in variables.items()]
    (tmp_path / ".config" / "ftsync" / "env").write_text("".join(lines))
    return Place(tmp_path, variables, sandbox.world, backend, project)


@pytest.fixture
def all_complete(world: World) -> dict[str, bool]:
    return {job.id: True for job in world.jobs}


def crontab(text: str) -> str:
    """The command of a crontab's one line, which cron hands to sh."""
    *fields, command = text.strip().split(maxsplit=5)
    assert [bool(re.fullmatch(r"[\d*,/-]+", field)) for field in fields] == [True] * 5
    assert "%" not in command, "cron takes it for the end of the command"
    return command


def cron(place: Place, recipe: str) -> subprocess.CompletedProcess[str]:
    """Run the recipe's command with all that cron sets, and nothing more."""
    sets = {"LOGNAME": "ada", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    return place.run(["sh", "-c", crontab(RECIPES[recipe])], **sets)


def test_cron_brings_the_jobs_and_logs_their_ids(place: Place, all_complete: dict[str, bool]) -> None:
    done = cron(place, "crontab")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert place.runs() == all_complete
    assert sorted((place.home / "ftsync.log").read_text().split()) == sorted(all_complete)


def test_cron_archives_and_checks(place: Place, all_complete: dict[str, bool]) -> None:
    done = cron(place, "crontab-archive")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted((place.home / "archive.log").read_text().split()) == sorted(all_complete)
    job = next((place.home / "fine-tuning").rglob("job.json"))
    job.write_text(job.read_text().replace("succeeded", "pretended"))
    damaged = cron(place, "crontab-archive")
    assert (damaged.returncode, damaged.stdout) == (3, f"{job.relative_to(place.home / 'fine-tuning')}\n")


def test_a_unit_of_systemd_watches_until_it_is_stopped(place: Place, all_complete: dict[str, bool]) -> None:
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign] # its names have capitals
    unit.read_string(RECIPES["systemd"])
    service = unit["Service"]
    prevented = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert prevented == {code for code, meaning in MEANINGS.items() if re.match("usage|not authenticated", meaning)}
    state = place.home / "state"
    state.mkdir()
    name, _, home = service["Environment"].replace("%S/ftsync", str(state)).partition("=")
    program, *arguments = shlex.split(service["ExecStart"])
    process = subprocess.Popen(
        [place.home / ".local" / "bin" / program, *arguments],
        cwd=service["WorkingDirectory"].replace("%S/ftsync", str(state)),
        env=place.variables | {name: home, "PATH": SYSTEM_PATH},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while place.runs() != all_complete and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert place.runs() == all_complete


def test_a_workflow_of_github_syncs_summarizes_and_verifies(place: Place, all_complete: dict[str, bool]) -> None:
    workflow = yaml.safe_load(RECIPES["github-actions"])
    (job,) = workflow["jobs"].values()
    secret = re.compile(r"\$\{\{ secrets\.(\w+) \}\}")
    secrets = {name: secret.sub(lambda found: place.variables[found[1]], value) for name, value in job["env"].items()}
    place = replace(place, project=secrets["WANDB_PROJECT"])
    summary = place.home / "summary.md"
    addresses = {name: value for name, value in place.variables.items() if name.endswith("_URL")}
    install, *steps = job["steps"]
    assert install["run"].startswith("pipx install")
    for step in steps:
        script = place.home / "step.sh"
        script.write_text(step["run"])
        more = secrets | addresses | {"GITHUB_STEP_SUMMARY": str(summary)}
        done = place.run(["bash", "-e", str(script)], **more)
        assert (step["name"], done.returncode, done.stderr[-500:] if done.returncode else "") == (step["name"], 0, "")
    assert place.runs() == all_complete
    assert [line.split(" | ")[1] for line in summary.read_text().splitlines()[2:]] == ["synced", "synced"]


def test_the_summary_of_a_workflow_tells_an_error_of_the_whole_sync(place: Place) -> None:
    (place.home / "report.json").write_text(json.dumps({"schema": 1, "error": {"message": "OpenAI refuses the key"}}))
    (job,) = yaml.safe_load(RECIPES["github-actions"])["jobs"].values()
    (step,) = [step for step in job["steps"] if step.get("if") == "always()"]
    assert place.run(["bash", "-ec", step["run"]], GITHUB_STEP_SUMMARY="summary.md").returncode == 0
    assert (place.home / "summary.md").read_text().endswith("\nOpenAI refuses the key\n")


def pod_of(job: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The one container of a job's pods, and its command with the image's entry point where it has none."""
    (container,) = job["template"]["spec"]["containers"]
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", RECIPES["dockerfile"], re.MULTILINE)
    return container, [*container.get("command", json.loads(entry)), *container.get("args", [])]


def test_a_cron_job_of_kubernetes_brings_the_jobs(place: Place, all_complete: dict[str, bool]) -> None:
    document = yaml.safe_load(RECIPES["cronjob"])
    assert (document["kind"], len(document["spec"]["schedule"].split())) == ("CronJob", 5)
    job = document["spec"]["jobTemplate"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    container, command = pod_of(job)
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert {MEANINGS[code] for code in rule["onExitCodes"]["values"]} == {MEANINGS[2], MEANINGS[4]}
    assert place.run(command, **place.variables).returncode == 0
    assert place.runs() == all_complete


def test_the_pods_of_an_indexed_job_share_the_jobs_among_them(place: Place, all_complete: dict[str, bool]) -> None:
    document = yaml.safe_load(RECIPES["indexed-job"])
    job = document["spec"]
    assert (document["kind"], job["completionMode"], job["completions"]) == ("Job", "Indexed", 4)
    _, command = pod_of(job)
    written: list[str] = []
    for index in range(job["completions"]):
        before = set(place.runs())
        done = place.run(command, JOB_COMPLETION_INDEX=str(index), **place.variables)
        assert (index, done.returncode, done.stderr if done.returncode else "") == (index, 0, "")
        written += set(place.runs()) - before
        assert len([line for line in done.stdout.splitlines() if line.startswith("skipped")]) == 0
    assert sorted(written) == sorted(all_complete)


def test_a_pipe_brings_what_is_missing(place: Place, all_complete: dict[str, bool]) -> None:
    done = place.run(["bash", "-c", RECIPES["unsynced"]], **place.variables)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    assert place.runs() == all_complete
    again = place.run(["bash", "-c", RECIPES["unsynced"]], **place.variables)
    assert (again.returncode, again.stdout) == (0, "")


def deploy(place: Place, *arguments: str, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str, str]:
    """Run the script; return its exit code, and what it says. `meanwhile` is done once it is running."""
    script = place.home / "deploy.sh"
    script.write_text(RECIPES["deploy"])
    script.chmod(0o700)
    process = subprocess.Popen(
        [script, *arguments],
        cwd=place.home,
        env=place.environment | place.variables | {"FTSYNC_POLL_INTERVAL": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    meanwhile()
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


@pytest.fixture
def service() -> Iterator[Sandbox]:
    """A service of the test's own, without jobs."""
    with serve(World()) as server:
        yield server


@pytest.fixture
def waiting(place: Place, service: Sandbox) -> Place:
    """The place, in front of that service."""
    return replace(place, variables=place.variables | {"OPENAI_BASE_URL": service.url}, world=service.world)


def running(job: SampleJob) -> SampleJob:
    now = time.time()
    return replace(job, live=Live(now - 3, now - 2, now + 3600))


def ended_once_followed(job: SampleJob, service: Sandbox) -> None:
    """Let the job end as soon as somebody has asked for its events, as one does who waits for it."""
    deadline = time.monotonic() + 60
    while not any(request.matches(f"{job.id}/events") for request in service.requests) and time.monotonic() < deadline:
        time.sleep(0.05)
    service.world.add(job)


def test_a_model_is_deployed_once_its_job_has_succeeded(waiting: Place, service: Sandbox) -> None:
    (job,) = samples.many(1)
    service.world.add(running(job))
    said = deploy(waiting, job.id, meanwhile=lambda: ended_once_followed(job, service))
    assert said == (0, f"deploying {job.job['fine_tuned_model']}\n", "")
    assert waiting.runs() == {job.id: True}


def test_nothing_is_deployed_of_a_job_that_fails_while_it_is_waited_for(waiting: Place, service: Sandbox) -> None:
    (job,) = samples.many(1, status="failed")
    service.world.add(running(job))
    said = deploy(waiting, job.id, meanwhile=lambda: ended_once_followed(job, service))
    assert said == (1, "", f"{job.id} has failed or was cancelled: nothing to deploy\n")


def test_nothing_is_deployed_of_a_job_that_failed_before(waiting: Place) -> None:
    (job,) = samples.many(1, status="failed")
    waiting.world.add(job)
    assert deploy(waiting, job.id) == (1, "", f"{job.id} has no model\n")


def test_a_deployment_is_put_off_while_its_job_runs(waiting: Place) -> None:
    (job,) = samples.many(1)
    waiting.world.add(running(job))
    code, out, err = deploy(waiting, job.id, "1s")
    assert (code, out) == (75, "")
    assert err.endswith(f"{job.id}: start this again later\n")


def test_a_script_brings_the_jobs_and_prints_models_the_best_first(place: Place, all_complete: dict[str, bool]) -> None:
    script = place.home / "report.py"
    script.write_text(RECIPES["python"])
    done = place.run([sys.executable, str(script)], **place.variables)
    assert done.returncode == 0, done.stderr
    losses = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert losses == sorted(loss for loss in losses if math.isfinite(loss))
    assert {line.split()[1] for line in done.stdout.splitlines()} == {
        job.job["fine_tuned_model"] for job in place.world.jobs
    }
    assert place.runs() == all_complete
    assert [run.tags.count("nightly") for run in place.backend.runs(place.project)] == [1, 1]


def test_every_file_of_the_page_is_used_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in RECIPES if f'"{name}"' not in source] == []
