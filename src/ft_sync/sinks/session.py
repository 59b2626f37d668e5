"""The wandb SDK's state while ftsync works: a session of its own, so that the caller's stays as it was.

The SDK keeps its settings, login and core process for the whole Python process and takes them from the environment, the
working directory, the platform and the program around it, any of which can send a run to another place. A session has
settings that name what they take, and everything else is the SDK's default. After the session, also after an error, the
SDK and the environment are as they were.

All of it uses the SDK's internals, which the SDK does not promise to keep: each is covered by a contract test.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb
from pydantic import ValidationError
from wandb.errors import term
from wandb.sdk import wandb_config, wandb_setup
from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache, artifact_instance_cache_by_client_id
from wandb.sdk.lib.service import ipc_support, service_port_file
from wandb.sdk.lib.service.service_connection import ServiceConnection
from wandb.sdk.lib.service.service_process import ServiceProcess
from wandb.sdk.lib.wbauth import authenticate
from wandb.util import get_core_path

from ft_sync import scratch
from ft_sync.errors import ConfigError
from ft_sync.redaction import redact
from ft_sync.wandb_files import user_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wandb.sdk.lib.service.service_token import ServiceToken

VARIABLES: Mapping[str, str] = {
    "WANDB_BASE_URL": "base_url",
    "WANDB_APP_URL": "app_url_override",
    "WANDB_HTTP_PROXY": "http_proxy",
    "WANDB_HTTPS_PROXY": "https_proxy",
    "WANDB_CREDENTIALS_FILE": "credentials_file",
    "WANDB_ORGANIZATION": "organization",
    "WANDB_HTTP_TIMEOUT": "x_graphql_timeout_seconds",
    "WANDB_FILE_PUSHER_TIMEOUT": "x_file_transfer_timeout_seconds",
    "WANDB_X_EXTRA_HTTP_HEADERS": "x_extra_http_headers",
    "WANDB__EXTRA_HTTP_HEADERS": "x_extra_http_headers",
    "WANDB_X_SERVICE_WAIT": "x_service_wait",
    "WANDB__SERVICE_WAIT": "x_service_wait",
}
"""Variables of the environment that count, each with the setting that it sets: they say how W&B is reached."""

KEPT = frozenset(
    {
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_CACHE_DIR",
        "WANDB_CONFIG_DIR",
        "WANDB_DATA_DIR",
        "WANDB_ARTIFACT_DIR",
        "WANDB__PROXIES",
    }
)
"""Variables that the SDK reads by itself and that count: credentials, and where it keeps files."""

FROM_FILE = ("base_url", "app_url_override", "http_proxy", "https_proxy", "organization", "api_key")
"""Settings that count in the user's own settings file."""

CORE_MEMORY = "96MiB"
"""Memory limit beyond which the garbage collector of the SDK's core (written in Go) runs more often.

By default, Go lets garbage grow as large as the live heap. This limits the garbage, not what the core may use.
"""

LOG_ERRORS = "8"
"""The level `error` of Go's log/slog: below it, the core logs the server's answer for each retry."""

STARTING_PAUSE = 0.01
"""Seconds between two looks at whether the core has started; it takes 0.02 s."""

ENDING_SECONDS = 30
"""Maximum number of seconds for the core to end after it was told to."""


class SessionSettings(wandb.Settings):
    """The SDK's settings, blind to notebooks and clouds, and without a log of the core."""

    # In a notebook, the SDK would hook into its cells, save its code and finish other runs.
    _jupyter = _ipython = _notebook = _colab = _kaggle = _aws_lambda = property(lambda _: False)

    def to_proto(self) -> Any:  # noqa: ANN401 - the SDK's message
        """Return the settings as the core gets them: it keeps no log, which would hold the server's answers.

        It logs them at any `x_log_level`, and an answer may repeat the API key of the request (wandb 0.31.0).
        """
        told = super().to_proto()
        told.log_internal.value = os.devnull
        return told


def settings_from(environment: Mapping[str, str]) -> SessionSettings:
    """Return the settings of a session: how W&B is reached, and nothing about runs.

    The user's own settings file counts, `~/.config/wandb/settings` or the one in `WANDB_CONFIG_DIR`, and the
    environment before it. Files in the working directory do not: whoever wrote them could have the API key sent to a
    host of their choice.

    Raises:
        ConfigError: Naming the variable or the file with a value that cannot be used.
    """
    settings = SessionSettings(silent=True, quiet=True, sagemaker_disable=True, label_disable=True)
    file = user_settings(environment)
    for name in FROM_FILE:
        if name in file.values:
            _set(settings, name, file.values[name], f"{file.path}: {name}")
    for variable, name in VARIABLES.items():
        if value := environment.get(variable, "").strip():
            _set(settings, name, value, variable)
    return settings


def _set(settings: wandb.Settings, name: str, value: object, origin: str) -> None:
    try:
        setattr(settings, name, value)
    except (ValidationError, ValueError, wandb.errors.UsageError) as error:
        details = error.errors(include_url=False) if isinstance(error, ValidationError) else ()
        reason = details[0]["msg"].removeprefix("Value error, ") if details else str(error)
        raise ConfigError(f"{origin}: {reason}, not {value!r}", hint="correct it, or remove it") from error


@contextmanager
def session(environment: Mapping[str, str]) -> Iterator[SessionSettings]:
    """Work in a session of ftsync's own within this context; nested and concurrent ones share it.

    Args:
        environment: The variables that count, see `VARIABLES`.

    Raises:
        ConfigError: The settings are not valid, or another thread works in a session with other settings.
    """
    settings = settings_from(environment)
    with _Shared.lock:
        if _Shared.session is None:
            _Shared.session = _Session(settings, dict(environment))
        elif _Shared.session.given != settings:
            raise ConfigError(
                "another sync in this process uses other W&B settings", hint="run one after the other, or two processes"
            )
        ours = _Shared.session
        ours.users += 1
    try:
        with ours.active():
            yield ours.settings
    finally:
        with _Shared.lock:
            ours.users -= 1
            if ours.users == 0:
                _Shared.session = None
                ours.close()


@contextmanager
def suspended() -> Iterator[None]:
    """Within this context, what the caller of a generator does, the SDK is as it was before the session."""
    ours = _Shared.session
    assert ours is not None, "only a session can be suspended"
    ours.leave()
    try:
        yield
    finally:
        ours.enter()


@contextmanager
def aloud() -> Iterator[None]:
    """Within this context, the SDK's `termlog` and `termwarn` print unless the caller has silenced the SDK."""
    silent, ours = term._silent, _Shared.session
    term._silent = ours.was_silent if ours is not None else silent or wandb.env.is_silent()
    try:
        yield
    finally:
        term._silent = silent


def callers_mode(environment: Mapping[str, str]) -> str | None:
    """Return the mode of the caller's own session: of its settings if it has begun, else of the environment."""
    begun = wandb_setup._singleton
    loaded = begun.settings_if_loaded if begun is not None else None
    return loaded.mode if loaded is not None else environment.get("WANDB_MODE")


class _Session:
    """Settings, credentials and core of ftsync's own.

    Attributes:
        given: The settings as they were at the start.
        users: Number of contexts that share the session.
        was_silent: Whether the SDK of the caller prints nothing.
    """

    def __init__(self, settings: SessionSettings, environment: Mapping[str, str]) -> None:
        self.given = settings.model_copy()
        self.settings = settings
        self.users = 0
        self.was_silent = False
        self._environment = environment
        self._setup = _Setup(os.getpid(), settings)
        self._credentials = authenticate._session_auth
        self._lock = threading.Lock()
        self._active = 0
        self._replaced = ExitStack()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within this context, the SDK has the state of this session."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Give the SDK the state of this session, unless another thread has."""
        with self._lock:
            self._active += 1
            if self._active == 1:
                self._replace()

    def leave(self) -> None:
        """Give the SDK back the state of the caller, unless another thread still works."""
        with self._lock:
            self._active -= 1
            if self._active == 0:
                self._credentials = authenticate._session_auth
                self._replaced.close()

    def close(self) -> None:
        """End the core."""
        with _kept("WANDB_SERVICE"):  # the SDK would remove the address of the caller's core
            self._setup.close()

    def _replace(self) -> None:
        stack = self._replaced
        stack.enter_context(quiet())
        self.was_silent = term._silent or wandb.env.is_silent()
        stack.enter_context(_only_ours(self.settings, self._environment))
        for name in ("_silent", "_show_info", "_show_warnings", "_show_errors", "_logger"):
            stack.enter_context(_replaced(term, name, getattr(term, name)))
        term.termsetup(self.settings, None)
        # Each new config would start with what `config-defaults.yaml` in the working directory says.
        stack.enter_context(_replaced(wandb_config.Config, "_load_defaults", lambda _: None))
        stack.enter_context(_replaced(authenticate, "_session_auth", self._credentials))
        stack.enter_context(_replaced(wandb_setup, "_singleton", self._setup))


class _Shared:
    """The session of this process, if there is one."""

    lock = threading.Lock()
    session: _Session | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Within this context, the SDK logs no keys, and its caches are safe for many threads.

    It suffices for a run that the caller has opened in a session of their own.
    """
    with ExitStack() as stack:
        # Otherwise two threads may evict the same artifact, and the second gets a `KeyError` (wandb 0.31.0).
        lock = threading.Lock()
        caches: tuple[Any, ...] = (artifact_instance_cache, artifact_instance_cache_by_client_id)
        for cache in caches:
            stack.enter_context(_replaced(cache, "_prune_dict", _one_at_a_time(cache._prune_dict, lock)))
        logger, without_keys = logging.getLogger("wandb"), _WithoutKeys()
        logger.addFilter(without_keys)
        stack.callback(logger.removeFilter, without_keys)
        yield


def _one_at_a_time(drop: Callable[[int], None], lock: threading.Lock) -> Callable[[int], None]:
    def drop_alone(size: int) -> None:
        with lock:
            drop(size)

    return drop_alone


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401 - a module, class or object
    """Replace an attribute within this context, and put back what its owner itself had."""
    had = vars(owner).get(name, _NOTHING)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had is _NOTHING:
            delattr(owner, name)
        else:
            setattr(owner, name, had)


_NOTHING = object()


@contextmanager
def _kept(name: str) -> Iterator[None]:
    """After this context, a variable of the environment is what it was before."""
    had = os.environ.get(name)
    try:
        yield
    finally:
        if had is not None:
            os.environ[name] = had


@contextmanager
def _only_ours(settings: SessionSettings, environment: Mapping[str, str]) -> Iterator[None]:
    """Within this context, leave the SDK only those of its variables that count.

    It reads some variables not into its settings but wherever it needs them, and writes some into the run.
    """
    had = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    instead = {name: value for name, value in environment.items() if name in KEPT}
    instead |= {
        "WANDB_BASE_URL": settings.base_url,
        "WANDB_SILENT": "true",
        "WANDB_DISABLE_WEAVE": "true",  # it would trace the caller's program into our run
        # The core would post its telemetry to the configured server on its only request loop, and every run of the
        # process would wait for that. When it does not start, recording that would even wait for ever (wandb 0.31.0).
        "WANDB_ERROR_REPORTING": environment.get("WANDB_ERROR_REPORTING") or "false",
    }
    if home := scratch.home():
        folders = ("XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
        instead |= {name: str(home) for name in folders if name not in environment}
    without = {name: os.environ.get(name) for name in instead.keys() - had.keys()}
    try:
        for name in had.keys() - instead.keys():
            del os.environ[name]
        os.environ.update(instead)
        yield
    finally:
        for name, value in without.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.environ.update(had)


class _Setup(wandb_setup._WandbSetup):
    """The SDK's global state, with settings that were not loaded but given, and a core that belongs to it."""

    def __init__(self, pid: int, settings: SessionSettings) -> None:
        super().__init__(pid)
        self._settings = settings

    def ensure_service(self) -> ServiceConnection:
        with self._connection_lock:
            if self._connection is None:
                core = _Core.start(self.settings.x_service_wait)
                self._connection = ServiceConnection(self._asyncer, core.token.connect(asyncer=self._asyncer), core)
            return self._connection

    def close(self) -> None:
        """End the core, and the thread that talks to it."""
        if self._connection is not None and not self._connection._torn_down:
            with suppress(ConnectionError):  # the core may have ended before
                self._connection.teardown(0)
        self._asyncer.join()


class _Core(ServiceProcess):
    """The SDK's core, a process. The SDK's own way to start it puts its address into the environment for others."""

    @classmethod
    def start(cls, seconds: float) -> _Core:
        """Start the core.

        Raises:
            ServicePollForTokenError: It has not started within so many seconds.
        """
        quiet_unless = [] if wandb.env.error_reporting_enabled() else ["--no-observability"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        with tempfile.TemporaryDirectory() as folder:
            port = Path(folder, "port")
            arguments = [get_core_path(), *quiet_unless, "--log-level", LOG_ERRORS]
            arguments += ["--port-filename", str(port), "--pid", str(os.getpid())]
            if not ipc_support.SUPPORTS_UNIX:
                arguments.append("--listen-on-localhost")
            # A group of its own, so that Ctrl-C does not reach it: runs are finished first.
            group: dict[str, Any] = {"start_new_session": True}
            if os.name == "nt":
                group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined, unused-ignore]
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                arguments, env={"GOMEMLIMIT": CORE_MEMORY, **environment}, **group
            )
            return cls(connection_token=_token(port, process, seconds), process=process)

    def join(self) -> int:
        """Wait until the core has ended; kill it if it does not.

        At times, rarely, the core misses the message to end, and the SDK would wait for it for ever (wandb 0.31.0). By
        then all runs are finished or given up, so the core has nothing left to do.
        """
        try:
            return self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _token(port: Path, process: subprocess.Popen[bytes], seconds: float) -> ServiceToken:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise service_port_file.ServicePollForTokenError(f"it ended with code {process.returncode}")
        if token := service_port_file._poll_once(port):
            return token
        time.sleep(STARTING_PAUSE)
    process.kill()
    process.wait()
    raise service_port_file.ServicePollForTokenError(f"no answer in {seconds:g} s")


class _WithoutKeys(logging.Filter):
    """Redacts what the SDK writes to a run's `debug.log`, since that includes answers of the server."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
