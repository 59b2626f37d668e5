"""Workarounds that need the wandb SDK's internals, each with its reason and covered by a contract test.

The SDK does not promise to keep its internals, so the version of the dependency has an upper bound.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import logging
import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import wandb
from wandb.analytics.opentelemetry import opentelemetry_proxy
from wandb.apis import public
from wandb.apis.public.service_api import ServiceApi
from wandb.proto.wandb_server_pb2 import ServerRequest  # type: ignore[attr-defined]
from wandb.sdk import wandb_setup
from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache, artifact_instance_cache_by_client_id
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
from wandb.sdk.lib.paths import LogicalPath
from wandb.sdk.lib.service import service_process
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

from ft_sync.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wandb.apis.public import Run

MESSAGES_AT_ONCE = 100
"""Messages to the SDK's core that are sent together."""

CLOSING_SECONDS = 60
"""Maximum number of seconds to wait for the SDK's core to close a run's file."""

ENDING_SECONDS = 30
"""Maximum number of seconds for the SDK's core to end after it was told to."""

LOG_ERRORS = "8"
"""The level `error` of Go's log/slog: the SDK's core is written in Go."""

CREATE_RUN = """
mutation UpsertBucket($project: String, $entity: String, $name: String!, $config: JSONString) {
    upsertBucket(input: {modelName: $project, entityName: $entity, name: $name, config: $config}) {
        bucket { id name }
        inserted
    }
}
"""


def _guard_caches() -> None:
    """Let only one thread at a time evict old artifacts from the SDK's caches.

    Otherwise two threads may evict the same artifact, and the second gets a `KeyError` (wandb 0.31.0).
    """
    lock = threading.Lock()

    def guarded(drop: Callable[[int], None]) -> Callable[[int], None]:
        def drop_alone(size: int) -> None:
            with lock:
                drop(size)

        return drop_alone

    for cache in (artifact_instance_cache, artifact_instance_cache_by_client_id):
        cache._prune_dict = guarded(cache._prune_dict)  # type: ignore[attr-defined]


_guard_caches()


# When its core does not start, the SDK records this by telemetry, which tries to acquire a lock that the same thread
# already holds: a deadlock (wandb 0.31.0).
opentelemetry_proxy.disable()


def end_status_thread(run: wandb.Run) -> None:
    """End the thread that the SDK starts for each online run to print the network's status: there can be many runs."""
    checker = run._run_status_checker
    if checker is not None:
        checker.join()


_polling = threading.Lock()
"""Held while the core's process is polled: `Popen.poll` knows nothing while another thread is polling."""


def has_core_ended() -> bool:
    """Whether the SDK's core has ended prematurely, which the SDK reports by various errors or not at all."""
    connection = wandb_setup.singleton()._connection
    core = connection._proc if connection is not None else None
    with _polling:
        return core is not None and core._process.poll() is not None


def forget_core() -> None:
    """Drop the connection to an SDK core that has ended: otherwise the SDK prints a traceback at the process's end."""
    connection = wandb_setup.singleton()._connection
    if connection is not None and connection._cleanup is not None:
        connection._cleanup()


def await_closed() -> None:
    """Wait until the SDK's core has closed the files of all finished runs: `finish` returns before that.

    Until then, the file of an offline run cannot be read. The core handles requests in order, so the answer to any
    later request shows that the files are closed; here, a query for an upload that does not exist (wandb 0.31.0).
    """
    service = wandb.setup().assert_service()

    async def ask() -> None:
        await (await service.sync_status("")).wait_async(timeout=CLOSING_SECONDS)

    with suppress(TimeoutError, ConnectionError, MailboxClosedError, HandleAbandonedError):  # a dead core has, too
        service._asyncer.run(ask)


def entry(path: Path, name: str) -> ArtifactManifestEntry:
    """Return what `Artifact.add_file` would add, without mapping the file into memory to compute its digest."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return ArtifactManifestEntry(
        path=LogicalPath(name),
        digest=base64.b64encode(digest).decode(),
        size=path.stat().st_size,
        local_path=str(path),
        skip_cache=True,  # a cached copy would never be used
    )


def graphql(api: wandb.Api, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Send a GraphQL query for which the public API has no function, and return the answer."""
    answer: dict[str, Any] = api._service_api.execute_graphql(query, variables=variables)
    return answer


def create_run(api: wandb.Api, path: str, run_id: str, config: dict[str, Any]) -> bool:
    """Create a run with only a config; return False if the run already existed.

    `Api.create_run` sends the same request but drops the answer, and `init(resume="never")` checks before it creates:
    with either, two machines could both write the run.
    """
    entity, _, project = path.rpartition("/")
    held = json.dumps({key: {"value": value} for key, value in config.items()})
    variables = {"entity": entity or None, "project": project, "name": run_id, "config": held}
    return graphql(api, CREATE_RUN, variables)["upsertBucket"].get("inserted") is not False


def limited(api: wandb.Api, limits: Mapping[str, object]) -> wandb.Api:
    """Return a copy of the API object whose requests are retried as often as the limits say.

    Otherwise the SDK takes the limits for all requests, downloads included, from settings shared by the whole process,
    which belong to the caller.
    """
    other = copy.copy(api)
    other._service_api = ServiceApi(settings=api._service_api._settings.model_copy(update=limits))
    other._service_api._get_api_session()
    return other


def another(api: wandb.Api, timeout: float) -> wandb.Api:
    """Return a copy of the API object with its own caches and a timeout in seconds.

    A new `wandb.Api` would query the user and the server's features again.
    """
    other = copy.copy(api)
    other._service_api = copy.copy(api._service_api)
    other._service_api._timeout = timeout
    other._projects, other._runs, other._sweeps, other._reports = {}, {}, {}, {}
    return other


def lend(api: wandb.Api, run: wandb.Run) -> None:
    """Have an open run use this API object: otherwise each run makes its own, which queries the user again."""
    entity, project = run.entity, run.project
    api.settings = {**api.settings, "entity": entity, "project": project, "run": run.id}
    run._cached_public_api = api


def await_logged(artifact: wandb.Artifact) -> None:
    """Wait until the server has a logged artifact; unlike `Artifact.wait`, without requesting it again afterwards.

    Raises:
        ValueError: The server refused the artifact, or the upload was given up.
    """
    handle = artifact._save_handle
    if handle is not None:
        answer = handle.wait_or(timeout=None).response.log_artifact_response
        if answer.error_message:
            raise ValueError(answer.error_message)


def unread_run(api: wandb.Api, path: str, run_id: str) -> Run:
    """Return a run object without a request: it suffices to list the run's files, and `Api.run` would read the run."""
    entity, _, project = path.rpartition("/")
    return public.Run(api._service_api, entity, project, run_id, {"state": "unknown"})


def remove_folder(run: Run) -> None:
    """Remove the empty folders that the SDK makes for a run that is read, its project and its entity."""
    folder = Path(run.dir)
    with suppress(OSError):  # a folder that is not empty stays
        for empty in (folder, *folder.parents[:2]):
            empty.rmdir()


@contextmanager
def in_batches(run: wandb.Run) -> Iterator[None]:
    """Send messages to the SDK's core in batches: one pass through the SDK's event loop per message is slow.

    Messages keep their order, and at most `MESSAGES_AT_ONCE` of them are held back.
    """
    interface: Any = run._interface
    waiting: list[Any] = []

    async def send() -> None:
        for message in waiting:
            interface._assign(message)
            await interface._client.publish(ServerRequest(record_publish=message))
        waiting.clear()

    def publish_in_batches(message: object, *, nowait: bool = False) -> None:  # noqa: ARG001 - the SDK passes it
        waiting.append(message)
        if len(waiting) == MESSAGES_AT_ONCE:
            interface._asyncer.run(send)

    interface._publish = publish_in_batches
    try:
        yield
        interface._asyncer.run(send)
    finally:
        del interface._publish


_opening = threading.local()


def _keep_log_from_core() -> None:
    """Make the SDK's core keep no log for runs opened within `without_log`: it would log the server's answers.

    It does so at any `x_log_level`, and an answer may repeat the API key of the request (wandb 0.31.0).
    """
    to_proto = wandb.Settings.to_proto

    def told_to_core(settings: wandb.Settings) -> Any:  # noqa: ANN401 - the SDK's message
        told = to_proto(settings)
        if getattr(_opening, "without_log", False):
            told.log_internal.value = os.devnull
        return told

    wandb.Settings.to_proto = told_to_core  # type: ignore[method-assign, assignment]


_keep_log_from_core()


class _QuietCore(subprocess.Popen[bytes]):
    """Starts the SDK's core so that its own log has only errors: for each retry it would log the server's answer."""

    def __init__(self, args: list[str], **options: Any) -> None:  # noqa: ANN401 - of Popen
        quiet = [] if "--log-level" in args else ["--log-level", LOG_ERRORS]
        super().__init__([*args, *quiet], **options)


service_process.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _QuietCore})  # type: ignore[attr-defined, assignment]


def _join(process: service_process.ServiceProcess) -> int:
    """Wait until the SDK's core has ended; kill it if it does not.

    At times, rarely, the core misses the message to end, and the SDK would wait for it for ever (wandb 0.31.0). By then
    all runs are finished or given up, so the core has nothing left to do.
    """
    core = process._process
    try:
        return core.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        core.kill()
        core.wait()
        return 0  # of another code, the SDK would make the exit code of this process


service_process.ServiceProcess.join = _join  # type: ignore[method-assign, assignment]


@contextmanager
def without_log() -> Iterator[None]:
    """Within this context, the SDK's core keeps no log for the runs that this thread opens."""
    _opening.without_log = True
    try:
        yield
    finally:
        _opening.without_log = False


class _WithoutKeys(logging.Filter):
    """Redacts what the SDK writes to a run's `debug.log`, since that includes answers of the server."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


logging.getLogger("wandb").addFilter(_WithoutKeys())
