"""Which fields each GraphQL type of W&B has here, and how each is read from the store; changes nothing."""

from __future__ import annotations

import json
import mimetypes
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from tests.wandb_backend.filters import matches, select
from tests.wandb_backend.store import (
    CONSOLE,
    EVENTS,
    HISTORY,
    Artifact,
    Collection,
    Project,
    Run,
    Store,
    View,
    iso,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.wandb_backend.walk import Call

    Fields: TypeAlias = dict[str, Callable[[Any, Call], object]]

Json: TypeAlias = dict[str, Any]

FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "MARK_RUN_FILES_UPLOADED",
    "FILESTREAM_GZIP",
)


# Shapes that several types share


def connection(nodes: Sequence[object], call: Call | None = None, **edge: Callable[[Any], object]) -> Json:
    """One page of nodes; a cursor is the number of nodes up to and with its own."""
    start = int((call["after"] if call else None) or 0)
    size = (call["first"] if call else None) or len(nodes)
    page = nodes[start : start + size]
    end = start + len(page)
    return {
        "__typename": "Connection",
        "totalCount": len(nodes),
        "edges": [
            {
                "__typename": "Edge",
                "cursor": str(number),
                "node": node,
                **{name: read(node) for name, read in edge.items()},
            }
            for number, node in enumerate(page, start=start + 1)
        ],
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": str(end) if page else None,
            "hasNextPage": end < len(nodes),
        },
    }


def file_url(call: Call, blob_owner: Run | Artifact, name: str) -> str:
    return f"{call.store.url}/storage/{blob_owner.typename.lower()}/{blob_owner.number}/{quote(name)}"


def manifest_url(call: Call, artifact: Artifact) -> str:
    return f"{call.store.url}/storage/manifest/{artifact.number}/wandb_manifest.json"


def named(typename: str, name: str) -> Json:
    return {"__typename": typename, "id": f"{typename}:{name}", "name": name}


def _organization(store: Store) -> Json:
    return named("Organization", store.organization) | {
        "orgEntity": _entity(store, store.organization_entity),
        "coreWeaveOrganizationId": None,
        "featureFlags": [],
    }


def _entity(store: Store, name: str | None) -> Json | None:
    if name not in store.entities:
        return None
    organization = named("Organization", store.organization) | {
        "orgEntity": named("Entity", store.organization_entity),
        "coreWeaveOrganizationId": None,
    }
    user = {"__typename": "User", "organizations": [organization]}
    return named("Entity", name) | {
        "entityType": "organization" if name == store.organization_entity else "team",
        "organization": None if name == store.user else organization,
        "user": user if name == store.user else None,
    }


def _user(store: Store) -> Json:
    return {
        "__typename": "User",
        "id": "VXNlcjox",
        "name": store.user.title(),
        "username": store.user,
        "email": f"{store.user}@example.com",
        "entity": store.user,
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "apiKeys": connection([]),
        "teams": connection([named("Entity", store.user), named("Entity", store.team)]),
    }


# Runs


def _last(lines: list[str]) -> str:
    return json.dumps(lines[-1:])


def _history_keys(run: Run) -> Json:
    rows = run.history
    seen = {key: type(value).__name__ for row in rows for key, value in row.items()}
    kinds = {"int": "number", "float": "number", "str": "string", "dict": "map", "list": "list"}
    return {
        "sets": [],
        "lastStep": max((row.get("_step", 0) for row in rows), default=-1),
        "keys": {
            key: {"typeCounts": [{"type": kinds.get(kind, "other"), "count": len(rows)}]} for key, kind in seen.items()
        },
    }


def _sampled(rows: list[Any], samples: int | None) -> list[Any]:
    """At most so many rows, evenly spread, which is what makes `Run.history()` lose rows."""
    if not samples or len(rows) <= samples:
        return rows
    return [rows[number * len(rows) // samples] for number in range(samples)]


def _history(run: Run, call: Call) -> list[str]:
    low, high = call["minStep"] or 0, call["maxStep"] or float("inf")
    pairs = zip(run.lines(HISTORY), run.history, strict=True)
    return _sampled([line for line, row in pairs if low <= row.get("_step", 0) < high], call["samples"])


def _sampled_history(run: Run, call: Call) -> list[list[Json]]:
    """The rows which hold all keys of a spec, cut down to those keys; here `maxStep` is inclusive."""
    answers = []
    for spec in map(json.loads, call["specs"]):
        low, high = spec.get("minStep", 0), spec.get("maxStep", float("inf"))
        rows = [
            {key: row[key] for key in spec["keys"]}
            for row in run.history
            if low <= row.get("_step", 0) <= high and all(key in row for key in spec["keys"])
        ]
        answers.append(_sampled(rows, spec.get("samples")))
    return answers


def _parquet_history(run: Run, _: Call) -> Json:
    first = min((row.get("_step", 0) for row in run.history), default=0)
    return {"__typename": "ParquetHistory", "parquetUrls": [], "liveData": [{"_step": first}]}


def _log_lines(run: Run, call: Call) -> Json:
    shared = {"__typename": "LogLine", "timestamp": None, "level": None, "label": None}
    lines = [shared | {"number": number, "line": line} for number, line in enumerate(run.console)]
    return connection(lines[-call["last"] :] if call["last"] else lines, call)


def _run_files(run: Run, call: Call) -> Json:
    names, pattern = call["names"] or [], call["pattern"]
    blobs = [blob for blob in run.files.values() if not names or blob.name in names]
    if pattern:
        start, _, end = pattern.partition("%")
        blobs = [blob for blob in blobs if blob.name.startswith(start) and blob.name.endswith(end)]
    return connection(blobs, call)


RUN: Fields = {
    "id": lambda run, _: run.global_id,
    "internalId": lambda run, _: str(run.number),
    "projectId": lambda run, _: str(run.project.number),
    "project": lambda run, _: run.project,
    "name": lambda run, _: run.id,
    "displayName": lambda run, _: run.display_name,
    "state": lambda run, _: run.state,
    "config": lambda run, _: json.dumps(run.raw_config),
    "summaryMetrics": lambda run, _: json.dumps(run.summary),
    "systemMetrics": lambda run, _: (run.lines(EVENTS) or ["{}"])[-1],
    "wandbConfig": lambda run, call: json.dumps(
        {key: value for key, value in run.raw_config.get("_wandb", {}).get("value", {}).items() if key in call["keys"]}
    ),
    "tags": lambda run, _: run.tags,
    "group": lambda run, _: run.group,
    "jobType": lambda run, _: run.job_type,
    "notes": lambda run, _: run.notes,
    "description": lambda run, _: run.description,
    "commit": lambda run, _: run.commit,
    "sweepName": lambda *_: None,
    "readOnly": lambda *_: False,
    "stopped": lambda run, _: run.stopped,
    "createdAt": lambda run, _: iso(run.created_at),
    "heartbeatAt": lambda run, _: iso(run.heartbeat_at),
    "user": lambda _, call: _user(call.store),
    "historyLineCount": lambda run, _: len(run.lines(HISTORY)),
    "eventsLineCount": lambda run, _: len(run.lines(EVENTS)),
    "logLineCount": lambda run, _: len(run.lines(CONSOLE)),
    "historyTail": lambda run, _: _last(run.lines(HISTORY)),
    "eventsTail": lambda run, _: _last(run.lines(EVENTS)),
    "historyKeys": lambda run, _: _history_keys(run),
    "history": _history,
    "events": lambda run, _: run.lines(EVENTS),
    "sampledHistory": _sampled_history,
    "parquetHistory": _parquet_history,
    "logLines": _log_lines,
    "fileCount": lambda run, _: len(run.files),
    "files": _run_files,
    "inputArtifacts": lambda run, call: connection(run.used, call),
    "outputArtifacts": lambda run, call: connection(_not_deleted(run.logged), call),
}

FILE: Fields = {
    "id": lambda blob, _: blob.id,
    "name": lambda blob, _: blob.name,
    "displayName": lambda blob, _: blob.name,
    "url": lambda blob, call: file_url(call, blob.owner, blob.name),
    "directUrl": lambda blob, call: file_url(call, blob.owner, blob.name),
    "sizeBytes": lambda blob, _: blob.size,
    "storagePath": lambda blob, _: blob.name,
    "mimetype": lambda blob, _: mimetypes.guess_type(blob.name)[0],
    "updatedAt": lambda blob, _: iso(blob.updated_at),
    "digest": lambda blob, _: blob.md5,
    "md5": lambda blob, _: blob.md5,
}


# Projects


def _runs(project: Project, call: Call) -> list[Run]:
    filters = json.loads(call["filters"] or "{}")
    return select(list(project.runs.values()), filters, call["order"] or "")


def _types(project: Project) -> list[Json]:
    return [
        {"__typename": "ArtifactType", "project": project, "name": name}
        for name in dict.fromkeys(one.type for one in project.collections.values())
    ]


def _collections(project: Project, call: Call, kind: str | None = None) -> Json:
    filters = json.loads(call["filters"] or "{}")
    found = [
        one
        for one in project.collections.values()
        if kind in (None, one.type) and matches({"name": one.name, "type": one.type}, filters)
    ]
    return connection(found, call)


def _membership(project: Project, name: str) -> Json | None:
    collection_name, _, alias = name.partition(":")
    collection = project.collections.get(collection_name)
    artifact = collection.find(alias or "latest") if collection else None
    return member(collection, artifact) if collection and artifact else None


def member(collection: Collection, artifact: Artifact) -> Json:
    return {"__typename": "ArtifactCollectionMembership", "collection": collection, "artifact": artifact}


def _artifact_named(project: Project, name: str) -> Artifact | None:
    membership = _membership(project, name)
    return membership["artifact"] if membership else None


def _views(project: Project, call: Call) -> Json:
    """Those of one type; `viewName` is the internal name, not the title."""
    kind, name = call["viewType"], call["viewName"]
    return connection([one for one in project.views.values() if one.type == kind and name in (None, one.name)], call)


PROJECT: Fields = {
    "id": lambda project, _: project.id,
    "internalId": lambda project, _: str(project.number),
    "name": lambda project, _: project.name,
    "entityName": lambda project, _: project.entity,
    "entity": lambda project, call: _entity(call.store, project.entity),
    "createdAt": lambda project, _: iso(project.created_at),
    "description": lambda *_: None,
    "access": lambda *_: "PRIVATE",
    "views": lambda *_: "{}",
    "isBenchmark": lambda *_: False,
    "readOnly": lambda *_: False,
    "user": lambda _, call: _user(call.store),
    "runCount": lambda project, call: len(_runs(project, call)),
    "runs": lambda project, call: connection(_runs(project, call), call),
    "run": lambda project, call: project.runs.get(call["name"]),
    "bucket": lambda project, call: project.runs.get(call["name"]),
    "artifact": lambda project, call: _artifact_named(project, call["name"]),
    "artifactType": lambda project, call: next((one for one in _types(project) if one["name"] == call["name"]), None),
    "artifactTypes": lambda project, call: connection(_types(project), call),
    "artifactCollection": lambda project, call: project.collections.get(call["name"]),
    "artifactCollections": _collections,
    "artifactCollectionMembership": lambda project, call: _membership(project, call["name"]),
    "allViews": _views,
}

VIEW: Fields = {
    "id": lambda view, _: view.id,
    "type": lambda view, _: view.type,
    "name": lambda view, _: view.name,
    "displayName": lambda view, _: view.display_name,
    "description": lambda view, _: view.description,
    "spec": lambda view, _: view.spec,
    "project": lambda view, _: view.project,
    "user": lambda _, call: _user(call.store) | {"photoUrl": None},
    "createdAt": lambda view, _: iso(view.created_at),
    "updatedAt": lambda view, _: iso(view.updated_at),
}


# Artifacts


def _not_deleted(artifacts: list[Artifact]) -> list[Artifact]:
    """Artifacts that W&B lists of a run, whether their upload was committed or not."""
    return [artifact for artifact in artifacts if artifact.state != "DELETED"]


def _artifact_files(artifact: Artifact, call: Call) -> Json:
    names = call["names"]
    return connection([blob for name, blob in artifact.blobs.items() if not names or name in names], call)


def _aliases_in(collection: Collection, artifact: Artifact) -> list[Json]:
    return [
        {
            "__typename": "ArtifactAlias",
            "id": f"{collection.id}:{alias}",
            "alias": alias,
            "artifactCollection": collection,
        }
        for alias, member in collection.aliases.items()
        if member is artifact
    ]


ARTIFACT: Fields = {
    "id": lambda artifact, _: artifact.id,
    "artifactSequence": lambda artifact, _: artifact.collection,
    "artifactType": lambda artifact, _: named("ArtifactType", artifact.type),
    "versionIndex": lambda artifact, _: artifact.version,
    "description": lambda artifact, _: artifact.description,
    "metadata": lambda artifact, _: json.dumps(artifact.metadata),
    "ttlDurationSeconds": lambda *_: -2,
    "ttlIsInherited": lambda *_: True,
    "tags": lambda artifact, _: [named("Tag", tag) for tag in artifact.tags],
    "historyStep": lambda artifact, _: artifact.history_step,
    "state": lambda artifact, _: artifact.state,
    "size": lambda artifact, _: sum(entry.get("size", 0) for entry in artifact.entries.values()),
    "digest": lambda artifact, _: artifact.digest,
    "commitHash": lambda *_: None,
    "fileCount": lambda artifact, _: len(artifact.entries),
    "createdAt": lambda artifact, _: iso(artifact.created_at),
    "updatedAt": lambda artifact, _: iso(artifact.updated_at),
    "aliases": lambda artifact, _: [
        alias for collection in (artifact.collection, *artifact.links) for alias in _aliases_in(collection, artifact)
    ],
    "currentManifest": lambda artifact, call: {
        "__typename": "ArtifactManifest",
        "id": f"manifest:{artifact.number}",
        "file": {"__typename": "File", "directUrl": manifest_url(call, artifact)},
    },
    "files": _artifact_files,
    "filesByManifestEntries": lambda artifact, _: connection(list(artifact.blobs.values())),
    "usedBy": lambda artifact, call: connection(artifact.used_by, call),
    "createdBy": lambda artifact, _: artifact.created_by,
    "artifactMemberships": lambda artifact, _: connection(
        [member(one, artifact) for one in (artifact.collection, *artifact.links)]
    ),
}

MEMBERSHIP: Fields = {
    "id": lambda member, _: f"{member['collection'].id}:{member['artifact'].number}",
    "versionIndex": lambda member, _: member["collection"].version_of(member["artifact"]),
    "createdAt": lambda member, _: iso(member["artifact"].created_at),
    "aliases": lambda member, _: _aliases_in(member["collection"], member["artifact"]),
    "artifactCollection": lambda member, _: member["collection"],
    "files": lambda member, call: _artifact_files(member["artifact"], call),
}

COLLECTION: Fields = {
    "id": lambda one, _: one.id,
    "name": lambda one, _: one.name,
    "description": lambda one, _: one.description,
    "state": lambda *_: "READY",
    "createdAt": lambda one, _: iso(one.created_at),
    "updatedAt": lambda one, _: iso(one.created_at),
    "project": lambda one, _: one.project,
    "defaultArtifactType": lambda one, _: named("ArtifactType", one.type),
    "tags": lambda one, _: connection([named("Tag", tag) for tag in one.tags]),
    "latestArtifact": lambda one, _: one.aliases.get("latest"),
    "aliases": lambda one, call: connection(
        [alias for artifact in one.versions.values() for alias in _aliases_in(one, artifact)], call
    ),
    "artifacts": lambda one, call: connection(
        list(reversed(one.versions.values())), call, version=lambda artifact: f"v{one.version_of(artifact)}"
    ),
    "artifactMembership": lambda one, call: (
        member(one, artifact) if (artifact := one.find(call["aliasName"])) else None
    ),
}

ARTIFACT_TYPE: Fields = {
    "id": lambda kind, _: f"ArtifactType:{kind['name']}",
    "description": lambda *_: None,
    "createdAt": lambda kind, _: iso(kind["project"].created_at),
    "artifactCollections": lambda kind, call: _collections(kind["project"], call, kind["name"]),
    "artifactCollection": lambda kind, call: kind["project"].collections.get(call["name"]),
}


# Queries


def _server_id(store: Store, client_id: str) -> Json | None:
    artifact = store.get(Artifact, client_id)
    return {"__typename": "ClientIDMapping", "serverID": artifact.id} if artifact else None


QUERY: Fields = {
    "viewer": lambda _, call: _user(call.store),
    "users": lambda _, call: connection([_user(call.store)]),
    "entity": lambda _, call: _entity(call.store, call["name"]),
    "organization": lambda _, call: _organization(call.store),
    "serverInfo": lambda *_: {
        "__typename": "ServerInfo",
        "features": [{"__typename": "Feature", "name": name, "isEnabled": True} for name in FEATURES],
        "cliVersionInfo": {"max_cli_version": "99.0.0"},
        "latestLocalVersionInfo": None,
    },
    "project": lambda _, call: call.store.project(call["entityName"], call["name"]),
    "model": lambda _, call: call.store.project(call["entityName"], call["name"]),
    "models": lambda _root, call: connection(
        [
            project
            for (entity, _), project in call.store.projects.items()
            if entity == (call["entityName"] or call.store.user)
        ],
        call,
    ),
    "artifact": lambda _, call: call.store.get(Artifact, call["id"]),
    "artifactCollection": lambda _, call: call.store.get(Collection, call["id"]),
    "view": lambda _, call: call.store.get(View, call["id"]),
    "clientIDMapping": lambda _, call: _server_id(call.store, call["clientID"]),
}

TABLES: dict[str, Fields] = {
    "Query": QUERY,
    "Run": RUN,
    "Project": PROJECT,
    "View": VIEW,
    "File": FILE,
    "Artifact": ARTIFACT,
    "ArtifactSequence": COLLECTION,
    "ArtifactPortfolio": COLLECTION,
    "ArtifactCollectionMembership": MEMBERSHIP,
    "ArtifactType": ARTIFACT_TYPE,
}

ABSTRACT = {"ArtifactCollection": {"ArtifactSequence", "ArtifactPortfolio"}}
