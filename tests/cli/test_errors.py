"""Each way to fail, through the real command: exit code, sentence, next step, and the same as JSON."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wandb

from ft_sync import cli
from ft_sync.cli import exits
from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync, Said
    from tests.wandb_backend import WandbBackend

NOWHERE = "http://127.0.0.1:9"


def assert_told(said: Said, *, code: int, name: str, words: str, hint: str) -> None:
    """Check the sentence on stderr and the document on stdout."""
    assert said.code == code
    error = said.json["error"]
    assert said.json["schema"] == 1
    assert (error["code"], error["exit_code"]) == (name, code)
    assert words in error["message"]
    assert hint in error["hint"]
    told = [line for line in said.err.splitlines() if not line.startswith("into ")]
    assert told == [f"ftsync: {error['title']}: {error['message']}", f"  next: {error['hint']}"]


@pytest.fixture(autouse=True)
def _jobs(world: World) -> None:
    world.add(*samples.many(1))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDKs not retry for minutes what will not come back."""
    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *_: 0.0)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")


def test_a_core_of_the_sdk_that_does_not_start_is_told_and_not_waited_for(
    workspace: Path, sandbox: Sandbox, backend: WandbBackend
) -> None:
    assert sandbox.url
    assert backend.url
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    done = subprocess.run(
        [sys.executable, "-m", "ft_sync", "sync"],
        env=env | {"WANDB_X_SERVICE_WAIT": "1e-9"},
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == exits.UNAVAILABLE
    assert "wandb-core, the SDK's own process, did not start" in done.stderr
    assert backend.requests == []


def test_a_core_of_the_sdk_that_ends_in_the_middle_is_told_and_the_next_sync_goes_on(
    workspace: Path, sandbox: Sandbox, world: World, backend: WandbBackend
) -> None:
    assert sandbox.url
    world.add(*samples.many(30))
    backend.latency = 0.05
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    command = [sys.executable, "-m", "ft_sync", "sync"]
    process = subprocess.Popen(command, env=env, cwd=workspace, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not backend.count("file_stream"):
        time.sleep(0.01)
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    (core,) = [child for task in tasks for child in task.read_text().split()]
    os.kill(int(core), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode in {exits.INCOMPLETE, exits.UNAVAILABLE}
    assert b"wandb-core, the SDK's own process, has ended" in told
    assert told.count(b"failed: ") == told.count(b"failed: wandb-core") + told.count(
        b"failed: not begun, since others failed: wandb-core"
    ), told.decode()
    assert b"atexit" not in told
    backend.latency = 0
    subprocess.run(command, env=env, cwd=workspace, check=True, capture_output=True)


def test_no_openai_key(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert_told(ftsync("sync", "--json"), code=4, name="auth", words="OPENAI_API_KEY", hint="export OPENAI_API_KEY=")


def test_a_wrong_openai_key(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-and-secret")
    said = ftsync("sync", "--json")
    assert_told(said, code=4, name="auth", words="127.0.0.1 refused the API key", hint="OPENAI_API_KEY")
    assert "sk-wrong-and-secret" not in said.out + said.err


def test_no_wandb_key(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert_told(ftsync("sync", "--json"), code=4, name="auth", words="W&B", hint="`wandb login`")


def test_a_wrong_wandb_key(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    said = ftsync("sync", "--json")
    assert_told(said, code=4, name="auth", words="W&B", hint="wandb login --relogin")
    assert "0" * 40 not in said.out + said.err


def test_an_unknown_entity(ftsync: Ftsync, world: World) -> None:
    world.add(*samples.many(1))
    said = ftsync("sync", "--entity", "nobody", "--json")
    assert_told(
        said, code=2, name="config", words="ada belongs to no entity nobody", hint="--entity ada or team-rocket"
    )


def test_an_entity_where_the_key_may_not_write(ftsync: Ftsync, backend: WandbBackend) -> None:
    backend.store.other_entities.add("strangers")
    backend.store.make_project("strangers", "open")
    said = ftsync("sync", "--entity", "strangers", "--project", "open", "--json")
    listed = ftsync("list", "--entity", "strangers", "--project", "open")
    backend.store.other_entities.clear()
    assert listed.code == 0
    assert_told(said, code=4, name="auth", words="ada is no member of strangers", hint="--entity")


def test_a_value_that_is_none_of_the_choices(ftsync: Ftsync) -> None:
    words = "Invalid value for '--provider': 'azur' is not one of 'openai', 'azure'"
    assert_told(ftsync("list", "--provider", "azur", "--json"), code=2, name="config", words=words, hint="--help")


@pytest.mark.parametrize("command", ["sync", "resync", "verify"])
def test_an_id_without_its_flag(ftsync: Ftsync, command: str) -> None:
    said = ftsync(command, "ftjob-1", "--json")
    assert_told(
        said, code=2, name="config", words="ftjob-1", hint=f"jobs are named by --job: `ftsync {command} --job ID`"
    )


def test_an_unknown_job(ftsync: Ftsync) -> None:
    said = ftsync("status", "ftjob-typo", "--json")
    assert_told(said, code=3, name="not_found", words="ftjob-typo", hint="`ftsync list --all`")


@pytest.mark.usefixtures("_impatient")
def test_openai_is_down(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", NOWHERE)
    said = ftsync("list", "--json", "-q")  # else each wait is told before
    assert_told(said, code=5, name="unavailable", words="127.0.0.1 could not be reached", hint="OPENAI_BASE_URL")


def test_wandb_is_down(ftsync: Ftsync, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.url
    monkeypatch.setenv("WANDB_BASE_URL", NOWHERE)
    monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 1)  # read from the environment once, at import
    said = ftsync("sync", "--json")
    assert_told(said, code=5, name="unavailable", words="W&B", hint="WANDB_BASE_URL")


def test_a_folder_that_cannot_be_written_to(ftsync: Ftsync) -> None:
    Path("wandb").write_text("in the way")
    said = ftsync("sync", "--offline", "--json")
    assert_told(said, code=2, name="config", words="cannot be written to", hint="--init dir=FOLDER")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["--last", "0"], "--last"),
        (["--last", "many"], "--last"),
        (["--job", "a", "--last", "1"], "exclude each other"),
        (["--job", " "], "the id is empty"),
        (["--init", "group"], "not KEY=VALUE"),
        (["--init", "grop=nightly"], "grop"),
        (["--init", "project=mine"], "project"),
        (["--init", "id=mine"], "id"),
        (["--init", "timeout=5"], "timeout"),
        (["--init", "observer=5"], "observer"),
        (["--offline", "--init", "mode=online"], "exclude each other"),
        (["--timeout", "soon"], "no duration"),
        (["--timeout", "0"], "--timeout"),
        (["--model-artifact-name", "no spaces"], "--model-artifact-name"),
        (["a stray word"], "a stray word"),
    ],
)
def test_a_malformed_flag(arguments: list[str], words: str, ftsync: Ftsync) -> None:
    said = ftsync("sync", *arguments, "--json")
    assert_told(said, code=2, name="config", words=words, hint="")


def test_an_unknown_command_names_the_nearest(ftsync: Ftsync) -> None:
    assert_told(ftsync("snyc", "--json"), code=2, name="config", words="Did you mean", hint="`ftsync --help`")


def test_without_json_stdout_stays_empty(ftsync: Ftsync) -> None:
    said = ftsync("list", "--limit", "0")
    assert (said.code, said.out) == (2, "")


def test_a_bug_is_one_line_and_debug_shows_the_traceback_without_values(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        secret = "local value"  # noqa: F841 - what a traceback must not show
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("ft_sync.api.list_jobs", broken)
    brief = ftsync("list")
    assert brief.code == 1
    assert brief.err.splitlines()[0] == "ftsync: unexpected error: ZeroDivisionError: by zero"
    assert "Traceback" not in brief.err
    assert "--debug" in brief.err

    debug = ftsync("list", "--debug")
    assert debug.code == 1
    assert 'raise ZeroDivisionError("by zero")' in debug.err
    assert "'local value'" not in debug.err


def test_an_interruption_says_how_to_carry_on(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ft_sync.api.list_jobs", interrupted)
    said = ftsync("list")
    assert said.code == 130
    assert said.err == "interrupted; run the same command again to carry on\n"


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["ftsync", "snyc"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2


def test_what_a_pipe_cannot_show_is_escaped(world: World, workspace: Path, sandbox: Sandbox) -> None:
    assert sandbox.url
    (job,) = samples.many(1)
    world.add(replace(job, job={**job.job, "id": "ftjob-odd", "status": "failed", "error": {"message": "文件"}}))
    done = subprocess.run(
        [sys.executable, "-m", "ft_sync", "status", "ftjob-odd", "--offline"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        cwd=workspace,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\\u6587\\u4ef6" in done.stdout
