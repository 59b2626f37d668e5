"""The wandb SDK's state while ftsync works: a session of its own, so that the caller's stays as it was.

The SDK keeps its settings, login and core process for the whole Python process and takes them from the environment, the
working directory, the platform and the program around it, any of which can send a run to another place. A session has
settings that name what they take, and everything else is the SDK's default. It belongs to the threads that work for
ftsync: for all others, and after the session for all, the SDK and the environment are as they were.

All of it uses the SDK's internals, which the SDK does not promise to keep: each is covered by a contract test.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb
from pydantic import ValidationError
from wandb.apis.public import api
from wandb.errors import term
from wandb.integration.weave import weave
from wandb.sdk import wandb_config, wandb_setup
from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache, artifact_instance_cache_by_client_id
from wandb.sdk.lib import import_hooks, wbauth
from wandb.sdk.lib.service import ipc_support, service_port_file
from wandb.sdk.lib.service.service_connection import ServiceConnection
from wandb.sdk.lib.service.service_process import ServiceProcess
from wandb.sdk.lib.wbauth import authenticate
from wandb.util import get_core_path

from ft_sync import scratch
from ft_sync.errors import ConfigError, Stopped
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
    }
)
"""Variables that the SDK reads by itself and that count: credentials, and where it keeps files."""

FROM_FILE = ("base_url", "app_url_override", "http_proxy", "https_proxy", "organization", "api_key")
"""Settings that count in the user's own settings file."""

ALWAYS: Mapping[str, Any] = {"silent": True, "quiet": True, "sagemaker_disable": True, "label_disable": True}

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
    settings = SessionSettings(**ALWAYS)
    file = user_settings(environment)
    for name in FROM_FILE:
        if name in file.values:
            _set(settings, name, file.values[name], f"{file.path}: {name}")
    for variable, name in VARIABLES.items():
        if value := environment.get(variable, "").strip():
            _set(settings, name, value, variable)
    return settings


def settings_of(run: wandb.Run) -> SessionSettings:
    """Return the settings of a session on the server of an open run, with the credentials of that run."""
    settings, own = SessionSettings(**ALWAYS), run.settings
    for name in ("base_url", "app_url_override", "http_proxy", "https_proxy", "x_extra_http_headers"):
        if (value := getattr(own, name)) is not None:
            setattr(settings, name, value)
    for name in ("api_key", "identity_token_file", "credentials_file"):
        setattr(settings, name, getattr(own, name))
    return settings


def _set(settings: wandb.Settings, name: str, value: object, origin: str) -> None:
    try:
        setattr(settings, name, value)
    except (ValidationError, ValueError, wandb.errors.UsageError) as error:
        details = error.errors(include_url=False) if isinstance(error, ValidationError) else ()
        reason = details[0]["msg"].removeprefix("Value error, ") if details else str(error)
        raise ConfigError(f"{origin}: {reason}, not {value!r}", hint="correct it, or remove it") from error


@contextmanager
def session(environment: Mapping[str, str], run: wandb.Run | None = None) -> Iterator[SessionSettings]:
    """Work in a session of ftsync's own within this context; a nested one with the same settings is the same.

    Only this thread, and threads that work in a copy of its context, have the session. All others have the SDK's state
    as it was, and so have they themselves in `outside`.

    Args:
        environment: The variables that count, see `VARIABLES`.
        run: A run that the caller has open: its server and its credentials are used.

    Raises:
        ConfigError: The settings are not valid.
    """
    kept = {name: environment[name] for name in KEPT if name in environment}
    settings = settings_from(environment) if run is None else settings_of(run)
    outer = _current.get()
    if outer is not None and not outer.is_closed and (outer.given, outer.kept) == (settings, kept):
        yield outer.settings
        return
    with ExitStack() as stack:
        folder = stack.enter_context(scratch.folder())
        stack.enter_context(_dispatched())
        if run is not None:  # it keeps an API object, which would outlive the core that it needs
            stack.enter_context(_replaced(run, "_cached_public_api", None))
        ours = _Session(settings, kept, environment, folder)
        stack.callback(ours.close)
        atexit.register(stack.close)  # for a generator that is never finished
        stack.callback(atexit.unregister, stack.close)
        _current.set(ours)
        try:
            yield settings
        except BaseException:
            ours.close(seconds=0.5)  # what is still waiting for an answer is given up
            raise
        finally:
            _current.set(outer)


@contextmanager
def outside() -> Iterator[None]:
    """Within this context, the SDK is as it is outside of the session: for what is the caller's."""
    ours = _current.get()
    _current.set(None)
    try:
        yield
    finally:
        _current.set(ours)


def require_session() -> None:
    """Refuse to work after the session has ended: a thread may go on for a moment when a command is interrupted.

    Raises:
        Stopped: The session has ended.
    """
    ours = _current.get()
    if ours is not None and ours.is_closed:
        raise Stopped("interrupted", hint="run the same command again to carry on")


@contextmanager
def aloud() -> Iterator[None]:
    """Within this context, the SDK's `termlog` and `termwarn` print unless the caller has silenced the SDK."""
    silent = term._silent
    term._silent = silent or wandb.env.is_silent()
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
    """Settings, credentials and core of ftsync's own, and the environment that the SDK is to see.

    Attributes:
        given: The settings as they were at the start.
        kept: The variables that count and are no settings.
        environment: What the SDK takes for the environment: it reads some variables wherever it needs them, and writes
            some into the run.
    """

    def __init__(
        self, settings: SessionSettings, kept: Mapping[str, str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.given, self.settings, self.kept = settings.model_copy(), settings, kept
        self.environment = {name: value for name, value in environment.items() if not name.startswith("WANDB_")}
        self.environment |= {
            **kept,
            "WANDB_BASE_URL": settings.base_url,
            "WANDB_DIR": str(folder),  # for what the SDK downloads of runs that are read
            "WANDB_DISABLE_WEAVE": "true",  # it would trace the caller's program into our run
            # The core would post its telemetry to the configured server on its only request loop, and every run of the
            # process would wait for that. If it does not start, recording that never returns (wandb 0.31.0).
            "WANDB_ERROR_REPORTING": environment.get("WANDB_ERROR_REPORTING") or "false",
        }
        if home := scratch.home():
            folders = ("XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
            self.environment = {**dict.fromkeys(folders, str(home)), **self.environment}
        self.setup = _Setup(settings, self.environment)
        self._pid = os.getpid()
        self._credentials: wbauth.Auth | None = None

    @property
    def is_closed(self) -> bool:
        return self.setup.is_closed

    def credentials(self, **asked: Any) -> wbauth.Auth | None:  # noqa: ANN401 - what the SDK asks for
        """Return the credentials for the session's server, looked up once."""
        if self._credentials is None:
            host = asked.get("host") or self.settings.base_url
            if self.settings.api_key:
                self._credentials = wbauth.AuthApiKey(host=host, api_key=self.settings.api_key)
            else:
                self._credentials = _AUTHENTICATE(host=host, source="ftsync", prompt=False, update_session=False)
            if self._credentials is not None:
                wbauth.set_auth_settings(self.settings, self._credentials)
        return self._credentials

    def close(self, seconds: float = ENDING_SECONDS) -> None:
        """End the core; a child process leaves it to its parent."""
        if os.getpid() == self._pid:
            self.setup.close(seconds)


_current: ContextVar[_Session | None] = ContextVar("session", default=None)


# The parts of the SDK that are the same for a whole process, made to depend on the context


def _setup(*arguments: Any, **options: Any) -> wandb_setup._WandbSetup:  # noqa: ANN401 - of the SDK's own function
    ours = _current.get()
    return _SETUP(*arguments, **options) if ours is None else ours.setup.updated(*arguments, **options)


def _authenticate(**asked: Any) -> wbauth.Auth | None:  # noqa: ANN401 - as above
    ours = _current.get()
    return _AUTHENTICATE(**asked) if ours is None else ours.credentials(**asked)


def _log(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as above
    if _current.get() is None:
        _LOG(*arguments, **options)


def _load_defaults(config: wandb_config.Config) -> None:
    """Read `config-defaults.yaml` in the working directory for runs of the caller alone."""
    if _current.get() is None:
        _LOAD_DEFAULTS(config)  # type: ignore[no-untyped-call]


class _Os:
    """The module `os`, with the environment of the session."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        ours = _current.get()
        if ours is not None and name == "environ":
            return ours.environment
        if ours is not None and name == "getenv":
            return ours.environment.get
        return getattr(os, name)


_SETUP, _AUTHENTICATE = wandb_setup._setup, authenticate.authenticate_session
_LOG, _LOAD_DEFAULTS = term._log, wandb_config.Config._load_defaults

READERS = (wandb.env, authenticate, weave, api)
"""Modules of the SDK that read its variables from the environment, on ways that ftsync goes."""

REPLACEMENTS: tuple[tuple[Any, str, Any], ...] = (
    (wandb_setup, "_setup", _setup),
    (wbauth, "authenticate_session", _authenticate),
    (term, "_log", _log),
    (wandb_config.Config, "_load_defaults", _load_defaults),
    *((module, "os", _Os()) for module in READERS),
)


class _Dispatching:
    """How many sessions there are; the SDK's functions are replaced while there is one."""

    lock = threading.Lock()
    sessions = 0
    replaced = ExitStack()


@contextmanager
def _dispatched() -> Iterator[None]:
    with _Dispatching.lock:
        if _Dispatching.sessions == 0:
            _Dispatching.replaced.enter_context(quiet())
            _Dispatching.replaced.enter_context(_import_hooks_kept())
            for owner, name, value in REPLACEMENTS:
                _Dispatching.replaced.enter_context(_replaced(owner, name, value))
        _Dispatching.sessions += 1
    try:
        yield
    finally:
        with _Dispatching.lock:
            _Dispatching.sessions -= 1
            if _Dispatching.sessions == 0:
                _Dispatching.replaced.close()


@contextmanager
def _import_hooks_kept() -> Iterator[None]:
    """After this context, Python imports modules as before: each run has the SDK listen to imports."""
    had = [*sys.meta_path]
    try:
        yield
    finally:
        ours: Any = import_hooks.ImportHookFinder
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder in had or not isinstance(finder, ours)]


@contextmanager
def quiet() -> Iterator[None]:
    """Within this context, the SDK logs no keys, and its caches are safe for many threads."""
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


class _Setup(wandb_setup._WandbSetup):
    """The SDK's global state, with settings that were not loaded but given, and a core that belongs to it."""

    def __init__(self, settings: SessionSettings, environment: Mapping[str, str]) -> None:
        super().__init__(os.getpid())
        self._settings = settings
        self._environment = environment
        self._closing = threading.Lock()
        self.is_closed = False

    def updated(
        self,
        settings: wandb.Settings | None = None,
        start_service: bool = True,
        load_settings: bool = True,
    ) -> _Setup:
        """Do what the SDK's `_setup` does with its only one."""
        del load_settings
        if settings is not None:
            self.settings.update_from_settings(settings)
        if start_service:
            self.ensure_service()
        return self

    def ensure_service(self) -> ServiceConnection:
        with self._connection_lock:
            if self.is_closed:
                raise ConnectionResetError("the session of the SDK has ended")
            if self._connection is None:
                core = _Core.start(self.settings.x_service_wait, self._environment)
                self._connection = ServiceConnection(self._asyncer, core.token.connect(asyncer=self._asyncer), core)
            return self._connection

    def close(self, seconds: float) -> None:
        """End the core, and the thread that talks to it; the core is killed if that takes longer."""
        with self._connection_lock:
            if self.is_closed:
                return
            self.is_closed = True
        connection, service = self._connection, os.environ.get("WANDB_SERVICE")
        if connection is not None and connection._proc is not None:
            connection._proc.seconds = seconds  # type: ignore[attr-defined]
            with suppress(ConnectionError):  # the core may have ended before
                connection.teardown(0)
            if service is not None:
                os.environ["WANDB_SERVICE"] = service  # the address of the caller's core, which the SDK has removed
        self._asyncer.join()


class _Core(ServiceProcess):
    """The SDK's core, a process. The SDK's own way to start it puts its address into the environment for others."""

    seconds = ENDING_SECONDS

    @classmethod
    def start(cls, seconds: float, environment: Mapping[str, str]) -> _Core:
        """Start the core.

        Raises:
            ServicePollForTokenError: It has not started within so many seconds.
        """
        observed = [] if wandb.env.error_reporting_enabled() else ["--no-observability"]
        given = {name: value for name, value in environment.items() if not name.startswith("WANDB_")}
        with tempfile.TemporaryDirectory() as folder:
            port = Path(folder, "port")
            arguments = [get_core_path(), *observed, "--log-level", LOG_ERRORS]
            arguments += ["--port-filename", str(port), "--pid", str(os.getpid())]
            if not ipc_support.SUPPORTS_UNIX:
                arguments.append("--listen-on-localhost")
            # A group of its own, so that Ctrl-C does not reach it: runs are finished first.
            group: dict[str, Any] = {"start_new_session": True}
            if os.name == "nt":
                group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined, unused-ignore]
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                arguments, env={"GOMEMLIMIT": CORE_MEMORY, **given}, **group
            )
            return cls(connection_token=_token(port, process, seconds), process=process)

    def join(self) -> int:
        """Wait until the core has ended; kill it if it does not.

        At times, rarely, the core misses the message to end, and the SDK would wait for it for ever (wandb 0.31.0). By
        then all runs are finished or given up, so the core has nothing left to do.
        """
        try:
            return self._process.wait(self.seconds)
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
