"""The SDK's state during and after a session; each internal of the SDK that is relied on has its contract here."""

from __future__ import annotations

import inspect
import logging
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wandb
from wandb.sdk import wandb_config, wandb_setup
from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache
from wandb.sdk.lib import wb_logging
from wandb.sdk.lib.service import service_port_file, service_process, service_token
from wandb.sdk.lib.wbauth import authenticate

from ft_sync import redaction
from ft_sync.errors import ConfigError, Stopped
from ft_sync.sandbox import samples
from ft_sync.sinks import session as module
from ft_sync.sinks.session import (
    KEPT,
    READERS,
    REPLACEMENTS,
    VARIABLES,
    SessionSettings,
    callers_mode,
    outside,
    require_session,
    session,
    settings_from,
)

if TYPE_CHECKING:
    from ft_sync.sandbox import Sandbox, World
    from tests.wandb_backend import WandbBackend

KEY = "a1b2c3d4" * 5

READ_OTHERWISE = {
    "sdk/artifacts/storage_handlers/s3_handler.py": "files kept by reference in S3, which ftsync has none of",
    "sdk/lib/deprecated_api.py": "an API that ftsync does not use",
    "sdk/lib/gitlib.py": "the state of a git repository, which runs of ftsync do not hold",
    "sdk/lib/retry.py": "tests of the SDK",
    "sdk/lib/service/service_process.py": "starts the core, which the session does itself",
    "sdk/lib/service/service_token.py": "the address of another core, which the session does not ask for",
    "sdk/lib/wbauth/wbnetrc.py": "NETRC, which names the user's own file",
    "sdk/wandb_init.py": "WANDB_CONFIG, for Launch alone, and PEX",
    "sdk/wandb_run.py": "WANDB_ARTIFACTS, for Launch alone, and Docker images",
    "sdk/wandb_settings.py": "settings, which a session does not load",
    "sdk/wandb_setup.py": "the same",
}
"""Other modules of the SDK that read the environment, and what for."""


@pytest.fixture(autouse=True)
def _alone(workspace: Path) -> None:
    assert workspace.is_dir()


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"WANDB_CONFIG_DIR": str(folder), **variables}


# Settings


def test_the_variables_that_count_are_those_that_say_how_wandb_is_reached(tmp_path: Path) -> None:
    found = settings_from(
        environment(
            tmp_path,
            WANDB_BASE_URL=" https://w.example/ ",
            WANDB_HTTP_TIMEOUT="7",
            WANDB_HTTPS_PROXY="http://proxy.example:3128",
            WANDB_X_EXTRA_HTTP_HEADERS='{"x-a": "b"}',
            WANDB_ENTITY="lab",
            WANDB_RUN_ID="train-7",
            WANDB_SWEEP_ID="abcd",
            WANDB_MODE="disabled",
            WANDB_RESUME="must",
        )
    )
    assert (found.base_url, found.x_graphql_timeout_seconds) == ("https://w.example", 7)
    assert (found.https_proxy, found.x_extra_http_headers) == ("http://proxy.example:3128", {"x-a": "b"})
    assert (found.entity, found.run_id, found.sweep_id, found.resume, found.mode) == (None, None, None, None, "online")


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    assert settings_from(environment(tmp_path, WANDB_BASE_URL=" ")).base_url == wandb.Settings().base_url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WANDB_BASE_URL", "127.0.0.1:8080"),
        ("WANDB_HTTP_TIMEOUT", "20s"),
        ("WANDB_X_EXTRA_HTTP_HEADERS", "no json"),
        ("WANDB_HTTP_PROXY", "no url"),
    ],
)
def test_a_variable_that_counts_and_is_invalid_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as raised:
        settings_from(environment(tmp_path, **{name: value}))
    assert raised.value.hint


def test_the_users_own_settings_file_counts_after_the_environment(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("[default]\nbase_url = https://home.example\nrun_id = train-7\n")
    found = settings_from(environment(tmp_path))
    assert (found.base_url, found.run_id) == ("https://home.example", None)
    named = settings_from(environment(tmp_path, WANDB_BASE_URL="https://w.example"))
    assert named.base_url == "https://w.example"


@pytest.mark.parametrize(
    "text", ["[default\nbase_url = https://w.example", "[default]\nbase_url = nowhere", "\x00\xff["]
)
def test_a_settings_file_of_the_user_that_is_damaged_is_an_error_and_no_reason_for_another_server(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "settings").write_text(text)
    with pytest.raises(ConfigError, match=str(tmp_path / "settings")):
        settings_from(environment(tmp_path))


def test_every_setting_that_counts_is_one_of_the_sdk() -> None:
    fields = set(wandb.Settings.model_fields)
    assert {*VARIABLES.values(), *module.FROM_FILE} <= fields


# What a session changes, and that it changes back


def test_a_session_changes_the_sdk_for_its_own_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "train-7")
    monkeypatch.setenv("WANDB_LAUNCH_QUEUE_NAME", "queue")
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    before, own = dict(os.environ), wandb_setup.singleton()

    def seen() -> tuple[bool, str | None, bool]:
        settings = wandb_setup.singleton().settings
        return settings.run_id is None, wandb.env.get_launch_queue_name(), wandb.env.error_reporting_enabled()

    with session(os.environ), ThreadPoolExecutor(1) as elsewhere:
        assert seen() == (True, None, False)
        assert elsewhere.submit(copy_context().run, seen).result() == (True, None, False)
        assert elsewhere.submit(seen).result() == (False, "queue", True)
        assert elsewhere.submit(wandb_setup.singleton).result() is own
        with outside():
            assert seen() == (False, "queue", True)
        assert dict(os.environ) == before
    assert seen() == (False, "queue", True)


def test_after_a_session_the_sdk_has_its_own_functions() -> None:
    had = {(owner, name): vars(owner).get(name) for owner, name, _ in REPLACEMENTS}
    with session(os.environ):
        assert not any(vars(owner).get(name) is function for (owner, name), function in had.items())
    assert {(owner, name): vars(owner).get(name) for owner, name, _ in REPLACEMENTS} == had


def test_a_thread_that_outlives_its_session_reaches_neither_a_server_nor_the_callers_state(
    backend: WandbBackend,
) -> None:
    over, errors = threading.Event(), []

    def late() -> None:
        over.wait(60)
        for work in (require_session, wandb.setup):
            try:
                work()
            except (Stopped, ConnectionResetError) as error:
                errors.append(type(error))

    with session(os.environ):
        thread = threading.Thread(target=copy_context().run, args=(late,))
        thread.start()
    over.set()
    thread.join()
    assert errors[0] is Stopped
    assert backend.requests == []


def test_a_variable_set_by_the_program_during_a_session_stays() -> None:
    with session(os.environ):
        os.environ["WANDB_NAME"] = "mine"
    assert os.environ.pop("WANDB_NAME") == "mine"


def test_telemetry_of_the_sdk_is_off_unless_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    with session(os.environ):
        assert wandb.env.error_reporting_enabled()
        core = wandb.setup().assert_service()._proc
        assert core is not None
        assert "--no-observability" not in core._process.args  # type: ignore[operator]


def test_a_core_gets_none_of_the_variables_of_the_sdk_and_a_limit_of_its_memory() -> None:
    with session(os.environ):
        core = wandb.setup().assert_service()._proc
        assert core is not None
        with open(f"/proc/{core._process.pid}/environ", "rb") as file:  # noqa: PTH123
            given = dict(line.split(b"=", 1) for line in file.read().split(b"\0") if b"=" in line)
        assert given[b"GOMEMLIMIT"] == b"96MiB"
        assert not [name for name in given if name.startswith(b"WANDB_")]
    assert core._process.poll() == 0
    assert "GOMEMLIMIT" not in os.environ


def test_concurrent_sessions_have_their_own_settings_credentials_and_cores(tmp_path: Path) -> None:
    ready = threading.Barrier(2)

    def work(number: int) -> tuple[str, object]:
        given = environment(tmp_path, WANDB_BASE_URL=f"http://w{number}.example", WANDB_API_KEY=str(number) * 40)
        with session(given) as settings:
            connection = wandb.setup().assert_service()
            ready.wait()
            auth = authenticate.authenticate_session(host=settings.base_url, source="test")
            found = wandb.setup().settings
            ready.wait()
            assert (found.base_url, auth) == (settings.base_url, None) or auth is not None
            return found.base_url, connection

    with ThreadPoolExecutor(2) as pool:
        first, second = (done.result() for done in [pool.submit(work, number) for number in (1, 2)])
    assert (first[0], second[0]) == ("http://w1.example", "http://w2.example")
    assert first[1] is not second[1]


def test_a_nested_session_is_the_same_unless_its_key_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(os.environ):
        outer = wandb.setup().assert_service()
        with session(os.environ):
            assert wandb.setup().assert_service() is outer
        monkeypatch.setenv("WANDB_API_KEY", "b" * 40)
        with session(os.environ):
            assert wandb.setup().assert_service() is not outer
        assert wandb.setup().assert_service() is outer


def test_a_process_that_leaves_a_generator_unfinished_ends(workspace: Path, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(3))
    assert sandbox.url
    program = "import ft_sync; jobs = ft_sync.list_jobs(); next(jobs); print('left')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("left\n", "")


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_the_callers_mode_is_that_of_a_session_that_has_begun_or_else_of_the_environment(mode: str) -> None:
    assert callers_mode({"WANDB_MODE": mode}) == mode
    wandb.setup(wandb.Settings(mode="online"))
    assert callers_mode({"WANDB_MODE": mode}) == "online"


# Contracts


def test_the_names_that_a_session_replaces_are_there() -> None:
    assert [name for owner, name, _ in REPLACEMENTS if name not in vars(owner)] == []
    for name in ("_jupyter", "_ipython", "_notebook", "_colab", "_kaggle", "_aws_lambda"):
        assert isinstance(inspect.getattr_static(wandb.Settings, name), property)
        assert getattr(SessionSettings(), name) is False


def test_the_sdk_reads_the_environment_where_it_is_known_to() -> None:
    root = Path(wandb.__file__).parent
    reads = re.compile(r"\bos\.(environ|getenv)\b")
    folders = ("sdk/artifacts", "sdk/interface", "sdk/lib", "sdk/mailbox", "apis/public", "integration/weave")
    files = [*root.glob("sdk/*.py"), *(file for folder in folders for file in (root / folder).rglob("*.py"))]
    found = {file.relative_to(root).as_posix() for file in [*files, root / "env.py"] if reads.search(file.read_text())}
    replaced = {Path(str(module.__file__)).relative_to(root).as_posix() for module in READERS}
    assert replaced <= found
    assert found - replaced == set(READ_OTHERWISE)


@pytest.mark.filterwarnings("ignore:.*config-defaults:pytest.PytestUnraisableExceptionWarning")
def test_the_sdk_still_reads_defaults_of_a_config_from_the_working_directory(workspace: Path) -> None:
    (workspace / "config-defaults.yaml").write_text("seed:\n  value: 99\n")
    assert wandb_config.Config()["seed"] == 99
    with session(os.environ):
        assert dict(wandb_config.Config()) == {}


def test_the_core_gets_no_log_file_from_a_session() -> None:
    assert SessionSettings().to_proto().log_internal.value == os.devnull
    assert wandb.Settings().to_proto().log_internal.value != os.devnull


def test_a_core_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDING_SECONDS", 0.1)
    deaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    token = service_token.TCPServiceToken(parent_pid=0, port=0)
    module._Core(connection_token=token, process=deaf).join()
    assert deaf.poll() is not None


def test_a_core_that_does_not_start_is_an_error_and_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "1e-9")
    with session(os.environ), pytest.raises(service_port_file.ServicePollForTokenError):
        wandb.setup()


def test_the_sdk_still_waits_for_its_core_without_end() -> None:
    assert "wait()" in inspect.getsource(service_process.ServiceProcess.join)


def artifacts_in_threads(count: int) -> None:
    def make(number: int) -> None:
        wandb.Artifact(f"name-{number}", type="dataset")

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that a thread is interrupted nearly everywhere
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(count)))
    finally:
        sys.setswitchinterval(usual)


def test_many_threads_make_artifacts_at_once() -> None:
    # The SDK keeps the last hundred artifacts in a dict that all threads share, and drops the oldest when one comes:
    # it looks up what to drop, and then drops it. A thread that is interrupted between the two finds it dropped by
    # another, and the `KeyError` would cost the job for which it made an artifact.
    with module.quiet():
        artifacts_in_threads(1_000)
    assert "_prune_dict" not in vars(artifact_instance_cache)


def test_keys_are_redacted_in_the_logs_of_the_sdk_during_a_session(tmp_path: Path) -> None:
    redaction.learn(KEY)
    handler = wb_logging.add_file_handler("some-run", tmp_path / "debug.log")
    try:
        with module.quiet(), wb_logging.log_to_run("some-run"):
            logging.getLogger("wandb").info("the answer was %s", KEY)
    finally:
        logging.getLogger("wandb").removeHandler(handler)
        handler.close()
    assert "the answer was ***" in (tmp_path / "debug.log").read_text()


@pytest.mark.parametrize("name", ["WANDB_LAUNCH_QUEUE_NAME", "WANDB_LAUNCH_QUEUE_ENTITY", "WANDB_LAUNCH_TRACE_ID"])
def test_the_sdk_still_writes_some_variables_into_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, backend: WandbBackend
) -> None:
    assert name not in KEPT
    monkeypatch.setenv(name, "secret")
    run: Any = wandb.init(mode="offline", reinit="create_new")
    run.finish()
    assert "secret" in str(run._config._as_dict())
    assert backend.runs("uncategorized") == []
