"""Environments that send the SDK's runs elsewhere: runs go where the plan says, and nothing else is touched."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wandb
from wandb.errors import term
from wandb.sdk import wandb_config, wandb_setup
from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache
from wandb.sdk.lib.wbauth import authenticate

import ft_sync
from ft_sync.errors import AuthError, ConfigError, SinkRejected
from ft_sync.sandbox import samples
from tests.wandb_backend import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ft_sync.sandbox import Sandbox, World
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import Run, WandbBackend

SWEEP = "program: train.py\nwandb_version: 1\nmodel:\n  value: gpt-none\nseed:\n  value: 99\n"

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "a sweep and a run of the user's": {
        "WANDB_SWEEP_ID": "abcd",
        "WANDB_RUN_ID": "train-7",
        "WANDB_PROJECT": "mine",
    },
    "launch": {"WANDB_LAUNCH": "true"},
    "launch with a config": {
        "WANDB_LAUNCH": "true",
        "WANDB_CONFIG": '{"model": "gpt-none", "seed": 99}',
        "WANDB_LAUNCH_CONFIG_PATH": "launch.json",
        "WANDB_ARTIFACTS": '{"a": "b"}',
    },
    "launch from a queue": {
        "WANDB_LAUNCH_QUEUE_NAME": "queue",
        "WANDB_LAUNCH_QUEUE_ENTITY": "lab",
        "WANDB_LAUNCH_TRACE_ID": "trace",
    },
    "SageMaker": {"SM_TRAINING_ENV": "{}", "TRAINING_JOB_NAME": "n", "CURRENT_HOST": "algo-1"},
    "parameters of a sweep": {"WANDB_SWEEP_PARAM_PATH": "sweep.yaml"},
    "config files": {"WANDB_CONFIG_PATHS": "sweep.yaml"},
    "resume": {"WANDB_RESUME": "must"},
    "resume of a run": {"WANDB_RESUME": "allow", "WANDB_RUN_ID": "train-7"},
    "rewind": {"WANDB_RESUME_FROM": "train-7?_step=2"},
    "fork": {"WANDB_FORK_FROM": "train-7?_step=2"},
    "names of one run": {
        "WANDB_NAME": "train",
        "WANDB_JOB_TYPE": "eval",
        "WANDB_RUN_NAME": "t",
        "WANDB_RUN_JOB_TYPE": "e",
    },
    "mode by another name": {
        "WANDB_X_PRIMARY": "false",
        "WANDB_X_LABEL": "worker",
        "WANDB_X_UPDATE_FINISH_STATE": "false",
    },
    "host, program and code": {"WANDB_HOST": "elsewhere", "WANDB_PROGRAM": "train.py", "WANDB_SAVE_CODE": "true"},
    "invalid values of what does not count": {"WANDB_INIT_TIMEOUT": "5m", "WANDB_QUIET": "", "WANDB_RUN_TAGS": "["},
    "a service that has ended": {"WANDB_SERVICE": "3-1-unix-/nowhere"},
    "names that other programs use": {
        "PROJECT": "stolen",
        "ENTITY": "lab",
        "MODE": "offline",
        "SHARD": "1/9",
        "DIR": "/x",
    },
    "a proxy that is no object": {"WANDB__PROXIES": "true"},
    "a notebook in the cloud": {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "AWS_LAMBDA_FUNCTION_NAME": "f"},
}

FILES: Mapping[str, Mapping[str, str]] = {
    "nested defaults": {"config-defaults.yaml": "seed:\n  value: 99\nlr:\n  value: 0.5\n"},
    "flat defaults": {"config-defaults.yaml": "seed: 99\n"},
    "settings that wandb init wrote": {"wandb/settings": "[default]\nentity = lab-team\nproject = mine\n"},
    "settings in the other folder": {".wandb/settings": "[default]\nentity = lab-team\nproject = mine\n"},
    "settings that cannot be read": {"wandb/settings": "[default\nentity"},
    "settings with an invalid value": {"wandb/settings": "[default]\nmode = sometimes\n"},
    "settings of a sweep": {"wandb/settings": "[default]\nsweep_id = abcd\nrun_id = train-7\nresume = must\n"},
}


@pytest.fixture
def theirs(workspace: Path, backend: WandbBackend) -> Iterator[Run]:
    """A run of the user's own, `train-7` in the project `mine`."""
    assert workspace.is_dir()
    with wandb.init(project="mine", id="train-7", name="a name of mine", config={"lr": 0.1}) as run:
        for step in range(5):
            run.log({"loss": 1 / (step + 1)})
    wandb.teardown()
    found = backend.run(backend.store.user, "mine", "train-7")
    assert found is not None
    assert len(found.history) == 5
    yield found
    with backend.store.lock:
        for place in [place for place, one in backend.store.projects.items() if one.name == "mine"]:
            del backend.store.projects[place]


def written(run: Run) -> dict[str, object]:
    """Everything that a run holds, but for times and what depends on its id."""
    summary = {key: value for key, value in run.summary.items() if key not in {"_runtime", "_timestamp", "_wandb"}}
    if "ftsync" in summary:
        summary["ftsync"] = {**summary["ftsync"], "time": None}
    summary = {key: value for key, value in summary.items() if key not in {"train_data", "valid_data"}}
    config = {key: value for key, value in run.raw_config.items() if key != "_wandb"}
    rows = [{key: value for key, value in row.items() if key != "_runtime"} for row in run.history]
    return {
        "names": (run.display_name, run.job_type, run.group, run.tags, run.notes),
        "state": run.state,
        "config": config,
        "launch": [key for key in run.raw_config.get("_wandb", {}).get("value", {}) if key.startswith("launch")],
        "summary": summary,
        "rows": rows,
        "files": sorted(path for path in run.files if path.startswith("fine_tuning/")),
        "inputs": sorted(one.name for one in run.used),
        "machine": (getattr(run, "host", None), getattr(run, "program", None)),
    }


@dataclass(frozen=True)
class Case:
    """Three jobs to be synced into a project, beside a run of the user's."""

    backend: WandbBackend
    project: str
    theirs: Run
    before: dict[str, object]
    expected: dict[str, dict[str, object]]

    def assert_only_planned(self) -> None:
        """The runs are where the plan says, with what the jobs say, and the user's run is as it was."""
        with self.backend.store.lock:
            projects = self.backend.store.projects.values()
            places = {(one.entity, one.name) for one in projects if one.runs and self.project in one.name}
        user = self.backend.store.user
        assert places == {(user, self.project), (user, f"{self.project}-clean")}
        assert {run.id: written(run) for run in self.backend.runs(self.project)} == self.expected
        assert written(self.theirs) == self.before


@pytest.fixture
def case(world: World, theirs: Run, backend: WandbBackend, project: str) -> Case:
    """What is expected is what the runs hold when nothing is in the way."""
    world.add(*samples.many(3))
    clean = f"{project}-clean"
    assert len(ft_sync.sync(project=clean).synced) == 3
    return Case(backend, project, theirs, written(theirs), {run.id: written(run) for run in backend.runs(clean)})


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_of_the_sdk_change_neither_the_place_nor_the_content_of_a_run(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    (workspace / "sweep.yaml").write_text(SWEEP)
    (workspace / "launch.json").write_text('{"seed": 99}')
    others = len(case.backend.store.projects)
    for variable, value in VARIABLES[name].items():
        monkeypatch.setenv(variable, value)
    report = ft_sync.sync(project=case.project)
    assert (len(report.synced), report.failed) == (3, ())
    case.assert_only_planned()
    assert len(case.backend.store.projects) == others + 1
    assert len(ft_sync.sync(project=case.project).skipped) == 3  # nothing is written again


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_working_directory_change_neither_the_place_nor_the_content_of_a_run(
    name: str, case: Case, workspace: Path
) -> None:
    for path, text in FILES[name].items():
        (workspace / path).parent.mkdir(exist_ok=True)
        (workspace / path).write_text(text)
    report = ft_sync.sync(project=case.project)
    assert (len(report.synced), report.failed) == (3, ())
    case.assert_only_planned()


def test_a_host_program_that_has_set_the_sdk_up_changes_nothing(case: Case) -> None:
    wandb.setup(
        wandb.Settings(
            entity="lab-team",
            project="mine",
            run_id="train-7",
            sweep_id="abcd",
            launch=True,
            resume="allow",
            run_group="mine",
            run_tags=("mine",),
            config_paths=("sweep.yaml",),
        )
    )
    assert len(ft_sync.sync(project=case.project).synced) == 3
    case.assert_only_planned()


def test_the_command_and_an_env_file_are_no_exception(ftsync: Ftsync, workspace: Path, case: Case) -> None:
    file, variables = workspace / "variables", VARIABLES["a sweep and a run of the user's"]
    file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    try:
        said = ftsync("--env-file", str(file), "sync", "--project", case.project, "--no-wait")
    finally:
        for name in variables.keys() - {"WANDB_PROJECT"}:
            os.environ.pop(name, None)
    assert said.code == 0
    assert f"into {case.backend.store.user}/{case.project} (new project)" in said.err.splitlines()
    case.assert_only_planned()


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    "setting",
    [
        {"run_id": "train-7"},
        {"base_url": "https://elsewhere.example"},
        {"sweep_id": "abcd"},
        {"launch": True},
        {"resume": "must"},
        {"fork_from": "train-7?_step=2"},
        {"mode": "disabled"},
        {"project": "mine"},
        {"entity": "lab-team"},
        {"config_paths": ["sweep.yaml"]},
        {"x_update_finish_state": False},
    ],
)
def test_settings_given_for_a_run_cannot_lead_it_elsewhere(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(ConfigError, match=name):
        ft_sync.sync(settings=setting)


# Where a run was opened


def redirected(backend: WandbBackend, entity: str, project: str) -> None:
    """Have the server write every run of ours somewhere else."""
    made = backend.store.make_project
    backend.store.make_project = lambda *_: made(entity, project)  # type: ignore[method-assign]


@pytest.fixture
def _restored(backend: WandbBackend) -> Iterator[None]:
    yield
    backend.store.__dict__.pop("make_project", None)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("word", ["project", "entity"])
def test_a_run_that_the_server_opens_elsewhere_is_removed_before_anything_is_written(
    word: str, world: World, ftsync: Ftsync, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(2))
    if word == "project":
        redirected(backend, backend.store.user, f"{project}-other")
    else:
        redirected(backend, backend.store.team, project)
    said = ftsync("sync", "--project", project)
    assert said.code == 2
    assert f"with the {word} " in said.err
    assert "nothing was written to it" in said.err
    with backend.store.lock:
        assert [one.runs for one in backend.store.projects.values() if project in one.name] == [{}]


# The user's own session


def state_of_the_sdk() -> dict[str, object]:
    """What ftsync changes while it works."""
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "singleton": wandb_setup._singleton,
        "credentials": authenticate._session_auth,
        "terminal": (term._silent, term._show_info, term._show_warnings, term._show_errors, term._logger),
        "filters": list(logging.getLogger("wandb").filters),
        "handlers": list(logging.getLogger("wandb").handlers),
        "defaults": wandb_config.Config._load_defaults,
        "cache": vars(artifact_instance_cache).keys(),
        "threads": {thread.name for thread in threading.enumerate() if "wandb" in thread.name.lower()},
        "settings": wandb.Settings.to_proto,
        "links": {path.name: path.readlink() for path in Path("wandb").glob("*") if path.is_symlink()},
    }


def test_the_users_own_runs_are_as_without_ftsync_before_between_and_after_two_syncs(
    world: World, workspace: Path, backend: WandbBackend, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workspace.is_dir()
    world.add(*samples.many(2))

    def train(number: int) -> None:
        with wandb.init(project=f"{project}-train", id=f"train-{number}", config={"lr": number}) as run:
            run.log({"loss": 1.0})

    train(1)
    before = state_of_the_sdk()
    ft_sync.WandbLogger.sync(num_fine_tunes=1, project=project)
    assert state_of_the_sdk() == before
    train(2)
    before["links"] = state_of_the_sdk()["links"]
    ft_sync.WandbLogger.sync(num_fine_tunes=2, project=project)
    assert state_of_the_sdk() == before
    train(3)
    assert capsys.readouterr().err == ""
    runs = backend.runs(f"{project}-train")
    assert [(run.id, run.config["lr"], len(run.history), run.state) for run in runs] == [
        ("train-1", 1, 1, "finished"),
        ("train-2", 2, 1, "finished"),
        ("train-3", 3, 1, "finished"),
    ]
    assert len(backend.runs(project)) == 2


def test_the_sdk_is_as_it_was_also_after_an_error(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, sandbox: object, backend: WandbBackend
) -> None:
    del sandbox
    assert workspace.is_dir()
    before = state_of_the_sdk()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(AuthError):
        ft_sync.sync()
    monkeypatch.setenv("WANDB_API_KEY", backend.api_key)
    backend.fail("GetProject", status=400)
    with pytest.raises(SinkRejected):
        ft_sync.sync()
    assert state_of_the_sdk() == before


@pytest.mark.usefixtures("workspace")
def test_a_run_that_is_open_during_a_sync_goes_on(world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.many(1))
    with wandb.init(project=f"{project}-train", id="open", reinit="create_new") as run:
        run.log({"loss": 1.0})
        assert len(ft_sync.sync(project=project).synced) == 1
        run.log({"loss": 2.0})
        run.summary["done"] = True
    (open_run,) = backend.runs(f"{project}-train")
    assert [row["loss"] for row in open_run.history] == [1.0, 2.0]
    assert open_run.summary["done"] is True
    assert json.dumps(open_run.config) == "{}"


@pytest.mark.usefixtures("workspace")
def test_a_thread_of_the_program_starts_its_own_run_during_a_sync(
    world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(2))
    started, synced = threading.Event(), threading.Event()
    runs: list[wandb.Run] = []

    def train() -> None:
        started.wait(60)
        with wandb.init(project=f"{project}-train", id="own", reinit="create_new") as run:
            runs.append(run)
            run.log({"loss": 1.0})
            synced.wait(60)
            run.log({"loss": 2.0})

    thread = threading.Thread(target=train)
    thread.start()
    ft_sync.sync(project=project, observer=lambda _: started.set())
    synced.set()
    thread.join()
    (own,) = backend.runs(f"{project}-train")
    assert (own.id, [row["loss"] for row in own.history], own.state) == ("own", [1.0, 2.0], "finished")
    assert len(backend.runs(project)) == 2


@pytest.mark.usefixtures("workspace")
def test_two_syncs_at_once_go_each_where_its_arguments_say(
    world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(2))
    monkeypatch.setenv("WANDB_TAGS", "prod")
    monkeypatch.setenv("WANDB_ENTITY", backend.store.team)
    begun = threading.Event()

    def later() -> int:
        begun.wait(60)
        return len(ft_sync.sync(project=f"{project}-2").synced)

    with ThreadPoolExecutor(1) as other:
        second = other.submit(later)
        first = len(ft_sync.sync(project=project, observer=lambda _: begun.set()).synced)
        assert (first, second.result()) == (2, 2)
    for name in (project, f"{project}-2"):
        assert [run.tags[-1] for run in backend.runs(name, backend.store.team)] == ["prod", "prod"]


@pytest.mark.usefixtures("workspace")
def test_a_run_that_is_open_on_another_server_is_written_there(
    world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    with serving() as other:
        settings = wandb.Settings(base_url=other.url, api_key=other.api_key, x_file_stream_transmit_interval=1)
        with wandb.init(project=project, id="own", reinit="create_new", settings=settings) as run:
            assert len(ft_sync.sync(num_fine_tunes=1, run=run).synced) == 1
        (own,) = other.runs(project)
        assert (own.id, len(own.history)) == ("own", 4)
    assert backend.requests == []


INTERRUPTED = """
import _thread, sys, threading, time, wandb
from wandb.sdk import wandb_setup
import ft_sync
for number in range(int(sys.argv[1])):
    timer = threading.Timer(0.03 + number * 0.04, _thread.interrupt_main)
    timer.start()
    try:
        try:
            ft_sync.sync(project=sys.argv[2], num_fine_tunes=1, wait_for_job_success=False)
        finally:
            timer.join()
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
assert wandb_setup._singleton is None, wandb_setup._singleton
"""


def test_an_interruption_at_any_moment_leads_no_thread_to_another_host_or_into_the_programs_sdk(
    workspace: Path, world: World, sandbox: Sandbox, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(1))
    assert sandbox.url
    backend.latency = 0.02
    home = workspace.parent / "own"
    home.mkdir()
    (home / "settings").write_text(f"[default]\nbase_url = {backend.url}\n")
    (workspace / "wandb").mkdir()
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(home))
    monkeypatch.delenv("WANDB_BASE_URL")
    with serving() as evil:
        (workspace / "wandb" / "settings").write_text(f"[default]\nbase_url = {evil.url}\n")
        command = [sys.executable, "-c", INTERRUPTED, "12", "interrupted"]
        done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert evil.requests == []
