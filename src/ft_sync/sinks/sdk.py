"""What needs the wandb SDK's internals but changes nothing of the SDK, each with its reason and a contract test.

The SDK does not promise to keep its internals, so the version of the dependency has an upper bound.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb
from wandb.apis import public
from wandb.apis._generated import GET_PROJECT_GQL
from wandb.apis.public.service_api import ServiceApi
from wandb.proto.wandb_server_pb2 import ServerRequest  # type: ignore[attr-defined]
from wandb.sdk import wandb_setup
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
from wandb.sdk.lib.paths import LogicalPath
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wandb.apis.public import Run
    from wandb.apis.public.artifacts import RunArtifacts

COMMITTED = "COMMITTED"
"""State of an artifact that W&B holds in full; others are drafts whose upload did not end, or deleted."""

MESSAGES_AT_ONCE = 100
"""Messages to the SDK's core that are sent together."""

CLOSING_SECONDS = 60
"""Maximum number of seconds to wait for the SDK's core to close a run's file."""

CREATE_RUN = """
mutation UpsertBucket($project: String, $entity: String, $name: String!, $config: JSONString) {
    upsertBucket(input: {modelName: $project, entityName: $entity, name: $name, config: $config}) {
        bucket { id name project { name entity { name } } }
        inserted
    }
}
"""

DELETE_RUN = "mutation DeleteRun($id: ID!) { deleteRun(input: {id: $id}) { clientMutationId } }"


def end_status_thread(run: wandb.Run) -> None:
    """End the thread that the SDK starts for each online run to print the network's status: there can be many runs."""
    checker = run._run_status_checker
    if checker is not None:
        checker.join()


def abandon(run: wandb.Run) -> None:
    """Let go of an open run without writing to it, not even that it has ended."""
    wandb_setup.singleton().ensure_service().inform_finish(run.id)
    run._is_finished = True
    wandb_setup.singleton().remove_active_run(run)


_polling = threading.Lock()
"""Held while the core's process is polled: `Popen.poll` knows nothing while another thread is polling."""


def has_core_ended() -> bool:
    """Whether the SDK's core has ended prematurely, which the SDK reports by various errors or not at all."""
    connection = wandb_setup.singleton()._connection
    core = connection._proc if connection is not None else None
    with _polling:
        return core is not None and core._process.poll() is not None


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


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """W&B's answer to the creation of a run: where the run is, and whether it did not exist before."""

    number: str
    run_id: str
    project: str
    entity: str
    is_new: bool


def create_run(api: wandb.Api, path: str, run_id: str, config: dict[str, Any]) -> CreatedRun:
    """Create a run with only a config, unless it exists.

    `Api.create_run` sends the same request but drops the answer, and `init(resume="never")` checks before it creates:
    with either, two machines could both write the run.
    """
    entity, _, project = path.rpartition("/")
    held = json.dumps({key: {"value": value} for key, value in config.items()})
    variables = {"entity": entity or None, "project": project, "name": run_id, "config": held}
    answer = graphql(api, CREATE_RUN, variables)["upsertBucket"]
    bucket, at = answer["bucket"], answer["bucket"].get("project") or {}
    return CreatedRun(
        number=bucket["id"],
        run_id=bucket["name"],
        project=at.get("name") or project,
        entity=(at.get("entity") or {}).get("name") or entity,
        is_new=answer.get("inserted") is not False,
    )


def delete_run(api: wandb.Api, created: CreatedRun) -> None:
    """Delete a run that was just created; its place may be another than the one asked for."""
    graphql(api, DELETE_RUN, {"id": created.number})


def find_project(api: wandb.Api, entity: str, project: str) -> tuple[str, str] | None:
    """Return a project's entity and name as W&B spells them; None if W&B answers that there is no such project.

    `Api.project` sends the same request but keeps the names that were asked for.
    """
    found = graphql(api, GET_PROJECT_GQL, {"entity": entity, "name": project}).get("project")
    return (found.get("entityName") or entity, found.get("name") or project) if found else None


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


def await_logged(artifact: wandb.Artifact) -> str:
    """Wait until the server has a logged artifact; unlike `Artifact.wait`, without requesting it again afterwards.

    Returns:
        The artifact's id on the server.

    Raises:
        ValueError: The server refused the artifact, or the upload was given up.
    """
    handle = artifact._save_handle
    assert handle is not None, "the artifact was logged online"
    answer = handle.wait_or(timeout=None).response.log_artifact_response
    if answer.error_message:
        raise ValueError(answer.error_message)
    return str(answer.artifact_id)


def use_draft(run: wandb.Run, draft: wandb.Artifact, aliases: list[str]) -> wandb.Artifact:
    """Log an artifact and make it an input of the run.

    Raises:
        ValueError: W&B took the artifact but did not commit it, which the SDK only asserts.
    """
    try:
        return run.use_artifact(draft, aliases=aliases)
    except AssertionError as error:
        if not draft.is_draft():
            raise
        raise ValueError(f"it did not commit the artifact {draft.name}") from error


def listed_artifacts(artifacts: RunArtifacts) -> tuple[list[wandb.Artifact], int]:
    """Return the committed artifacts in a run's list, and the number of drafts, which the SDK cannot represent."""
    convert, drafts = artifacts._convert, 0

    def committed(node: Any) -> wandb.Artifact | None:  # noqa: ANN401 - a private type of the SDK
        nonlocal drafts
        drafts += node.state == "PENDING"
        return convert(node) if node.state == COMMITTED else None

    artifacts._convert = committed  # type: ignore[method-assign]
    return list(artifacts), drafts


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
