"""What has to be done behind the wandb SDK's face, each for its reason and behind a contract test; nothing else is.

The dependency is capped, since none of this is promised to stay.
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
"""To the SDK's core."""

CLOSING_SECONDS = 60
"""The most that is waited for the SDK's core to close a run's file."""

LOG_ERRORS = "8"
"""A level of log/slog, the SDK's core being written in Go."""

CREATE_RUN = """
mutation UpsertBucket($project: String, $entity: String, $name: String!, $config: JSONString) {
    upsertBucket(input: {modelName: $project, entityName: $entity, name: $name, config: $config}) {
        bucket { id name }
        inserted
    }
}
"""


def _guard_caches() -> None:
    """Let one thread at a time drop old artifacts from the SDK's caches.

    The SDK itself has two threads drop the same one, which ends the second with a `KeyError` (wandb 0.31.0).
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


# Else the SDK waits for itself, for ever, when its core does not start: it counts that, and for that it wants the lock
# that it holds (wandb 0.31.0).
opentelemetry_proxy.disable()


def end_status_thread(run: wandb.Run) -> None:
    """End the thread that the SDK starts for each run online, to print what the network does: runs can be many."""
    checker = run._run_status_checker
    if checker is not None:
        checker.join()


def has_core_ended() -> bool:
    """Whether the SDK's core has ended before its time, which the SDK tells in many ways or none."""
    connection = wandb_setup.singleton()._connection
    core = connection._proc if connection is not None else None
    return core is not None and core._process.poll() is not None


def forget_core() -> None:
    """Let this process end without a word to the SDK's core, which is gone: the SDK's own farewell is a traceback."""
    connection = wandb_setup.singleton()._connection
    if connection is not None and connection._cleanup is not None:
        connection._cleanup()


def await_closed() -> None:
    """Wait until the SDK's core has closed the files of the runs that are finished: `finish` tells it to, and goes on.

    Until then an offline run is not found in its file. The core does in turn what it is asked for, so that any answer
    will do: here that about an upload which there is not (wandb 0.31.0).
    """
    service = wandb.setup().assert_service()

    async def ask() -> None:
        await (await service.sync_status("")).wait_async(timeout=CLOSING_SECONDS)

    with suppress(TimeoutError, ConnectionError, MailboxClosedError, HandleAbandonedError):  # one that is gone is, too
        service._asyncer.run(ask)


def entry(path: Path, name: str) -> ArtifactManifestEntry:
    """Return what `Artifact.add_file` would add, without mapping the whole file into memory to take its digest."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return ArtifactManifestEntry(
        path=LogicalPath(name),
        digest=base64.b64encode(digest).decode(),
        size=path.stat().st_size,
        local_path=str(path),
        skip_cache=True,  # a copy that nobody would ask for
    )


def graphql(api: wandb.Api, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Ask the server what the public API has no function for."""
    answer: dict[str, Any] = api._service_api.execute_graphql(query, variables=variables)
    return answer


def create_run(api: wandb.Api, path: str, run_id: str, config: dict[str, Any]) -> bool:
    """Create a run that has a config and no more; return whether it was this call that created it.

    `Api.create_run` asks the same and drops the answer, and `init(resume="never")` looks first and creates then: two
    machines at once would both write the run.
    """
    entity, _, project = path.rpartition("/")
    held = json.dumps({key: {"value": value} for key, value in config.items()})
    variables = {"entity": entity or None, "project": project, "name": run_id, "config": held}
    return graphql(api, CREATE_RUN, variables)["upsertBucket"].get("inserted") is not False


def limited(api: wandb.Api, limits: Mapping[str, object]) -> wandb.Api:
    """Return an API object that asks again as often as the limits say.

    For its downloads, as for all that it asks, the SDK goes by settings that a whole process shares, the caller's.
    """
    other = copy.copy(api)
    other._service_api = ServiceApi(settings=api._service_api._settings.model_copy(update=limits))
    other._service_api._get_api_session()
    return other


def another(api: wandb.Api, timeout: float) -> wandb.Api:
    """Return an API object with caches of its own, and so many seconds for an answer.

    One more `wandb.Api` would ask the server once more who one is and what it can do.
    """
    other = copy.copy(api)
    other._service_api = copy.copy(api._service_api)
    other._service_api._timeout = timeout
    other._projects, other._runs, other._sweeps, other._reports = {}, {}, {}, {}
    return other


def lend(api: wandb.Api, run: wandb.Run) -> None:
    """Have an open run ask by this API object; each would make one of its own, and ask who one is."""
    entity, project = run.entity, run.project
    api.settings = {**api.settings, "entity": entity, "project": project, "run": run.id}
    run._cached_public_api = api


def await_logged(artifact: wandb.Artifact) -> None:
    """Wait until the server has an artifact that was logged: `Artifact.wait` would ask for it once more.

    Raises:
        ValueError: It was refused, or given up.
    """
    handle = artifact._save_handle
    if handle is not None:
        answer = handle.wait_or(timeout=None).response.log_artifact_response
        if answer.error_message:
            raise ValueError(answer.error_message)


def unread_run(api: wandb.Api, path: str, run_id: str) -> Run:
    """Return a run that is not asked for: `Api.run` would read all of it, and who asks for its files needs no more."""
    entity, _, project = path.rpartition("/")
    return public.Run(api._service_api, entity, project, run_id, {"state": "unknown"})


def remove_folder(run: Run) -> None:
    """Remove the empty folder that the SDK makes for each run that is read, and those of its project and entity."""
    folder = Path(run.dir)
    with suppress(OSError):  # there are others in it
        for empty in (folder, *folder.parents[:2]):
            empty.rmdir()


@contextmanager
def in_batches(run: wandb.Run) -> Iterator[None]:
    """Have messages sent to the SDK's core many at a time; each on its own way through the SDK's event loop takes long.

    Messages keep their order, and those that wait to be sent stay few.
    """
    interface: Any = run._interface
    waiting: list[Any] = []

    async def send() -> None:
        for message in waiting:
            interface._assign(message)
            await interface._client.publish(ServerRequest(record_publish=message))
        waiting.clear()

    def publish_in_batches(message: object, *, nowait: bool = False) -> None:  # noqa: ARG001 - as it is called
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
    """Let the SDK's core keep no log of a run that is opened here: it writes down what a server answers.

    It does so whatever `x_log_level` says, and a server may repeat the key that it was sent (wandb 0.31.0).
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
    """The SDK's core, told to note in the log of its own only what fails: with each retry it notes what it was sent."""

    def __init__(self, args: list[str], **options: Any) -> None:  # noqa: ANN401 - of Popen
        quiet = [] if "--log-level" in args else ["--log-level", LOG_ERRORS]
        super().__init__([*args, *quiet], **options)


service_process.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _QuietCore})  # type: ignore[attr-defined, assignment]


@contextmanager
def without_log() -> Iterator[None]:
    """Have the runs that this thread opens meanwhile keep no log of the core's."""
    _opening.without_log = True
    try:
        yield
    finally:
        _opening.without_log = False


class _WithoutKeys(logging.Filter):
    """Redacts what the SDK writes into a run's `debug.log`, which is also what a server answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


logging.getLogger("wandb").addFilter(_WithoutKeys())
