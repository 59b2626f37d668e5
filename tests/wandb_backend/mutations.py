"""What each GraphQL mutation of W&B does to the store."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from tests.wandb_backend.fields import connection, file_url, manifest_url, member
from tests.wandb_backend.store import Artifact, Collection, Refused, Run, Store, View, now

if TYPE_CHECKING:
    from tests.wandb_backend.fields import Fields, Json
    from tests.wandb_backend.walk import Call


def _run(store: Store, given: Json) -> Run:
    run = store.run(given["entityName"], given["projectName"], given["runName"])
    if run is None:
        raise Refused(f"run {given['runName']} not found", 404)
    return run


def _run_by_id(store: Store, run_id: str | None) -> Run:
    found = store.get(Run, run_id)
    if found is None:
        raise Refused("run not found", 404)
    return found


def _artifact(store: Store, artifact_id: str | None) -> Artifact:
    found = store.get(Artifact, artifact_id)
    if found is None:
        raise Refused(f"artifact {artifact_id} not found", 404)
    return found


def _collection(store: Store, collection_id: str) -> Collection:
    found = store.get(Collection, collection_id)
    if found is None:
        raise Refused(f"artifact collection {collection_id} not found", 404)
    return found


def _upsert_bucket(_: object, call: Call) -> Json:
    given, store, inserted = call.input, call.store, False
    if given.get("id") and not given.get("name"):
        run = _run_by_id(store, given["id"])
    else:
        project = store.make_project(given.get("entityName"), given.get("modelName"))
        run_id = given.get("name") or secrets.token_hex(4)
        inserted = run_id not in project.runs
        run = project.runs.get(run_id) or store.make_run(project, run_id)
        run.exit_code, run.heartbeat_at = None, now()
    for attribute, argument in {
        "display_name": "displayName",
        "group": "groupName",
        "job_type": "jobType",
        "notes": "notes",
        "description": "description",
        "commit": "commit",
        "host": "host",
        "program": "jobProgram",
        "tags": "tags",
    }.items():
        if given.get(argument) is not None:
            setattr(run, attribute, given[argument])
    if given.get("config") is not None:
        run.raw_config = json.loads(given["config"])
    if given.get("summaryMetrics") is not None:
        run.summary = json.loads(given["summaryMetrics"])
    return {"bucket": run, "inserted": inserted}


def _delete_run(_: object, call: Call) -> Json:
    run = _run_by_id(call.store, call.input["id"])
    call.store.delete_run(run, with_artifacts=bool(call.input.get("deleteArtifacts")))
    return {}


def _stop_run(_: object, call: Call) -> Json:
    _run_by_id(call.store, call.input["id"]).stopped = True
    return {"success": True}


def _create_run_files(_: object, call: Call) -> Json:
    run = _run(call.store, call.input)
    return {
        "runID": run.global_id,
        "uploadHeaders": [],
        "files": [
            {"__typename": "File", "name": name, "uploadUrl": file_url(call, run, name)} for name in call.input["files"]
        ],
    }


def _delete_files(_: object, call: Call) -> Json:
    project = next(one for one in call.store.projects.values() if one.number == call.input["projectId"])
    for run in project.runs.values():
        run.files = {name: blob for name, blob in run.files.items() if blob.id not in call.input["files"]}
    return {"success": True}


def _create_artifact(_: object, call: Call) -> Json:
    given, store = call.input, call.store
    project = store.project(given["entityName"], given["projectName"])
    if project is None:
        raise Refused(f"project {given['entityName']}/{given['projectName']} not found", 404)
    (name,) = given.get("artifactCollectionNames") or [given["artifactCollectionName"]]
    collection = store.make_collection(project, name, given["artifactTypeName"])
    run = _run(store, given) if given.get("runName") else None
    aliases = [one["alias"] for one in given.get("aliases") or []]
    same = (one for one in collection.versions.values() if one.digest == given["digest"])
    artifact = next(same, None) if given.get("enableDigestDeduplication") else None
    if artifact:
        collection.aliases.update(dict.fromkeys(aliases, artifact))
    else:
        artifact = store.make_artifact(collection, given["digest"])
        artifact.wanted_aliases = aliases
        artifact.description = given.get("description")
        artifact.metadata = json.loads(given.get("metadata") or "{}")
        artifact.tags = [one["tagName"] for one in given.get("tags") or []]
        artifact.history_step = given.get("historyStep")
        artifact.created_by = run
    if given.get("clientID"):
        store.objects[given["clientID"]] = artifact
    if run and artifact not in run.logged:
        run.logged.append(artifact)
    return {"artifact": artifact}


def _manifest_answer(call: Call, artifact: Artifact) -> Json:
    file = {
        "__typename": "File",
        "id": f"manifest-file:{artifact.number}",
        "uploadUrl": manifest_url(call, artifact),
        "uploadHeaders": [],
    }
    identity = f"manifest:{artifact.number}"
    return {"artifactManifest": {"__typename": "ArtifactManifest", "id": identity, "file": file}}


def _create_artifact_files(_: object, call: Call) -> Json:
    """Where to put each file; nowhere for one whose bytes an earlier version already brought."""
    files = []
    for spec in call.input["artifactFiles"]:
        artifact = _artifact(call.store, spec["artifactID"])
        held = artifact.collection.blobs.get(spec["md5"])
        artifact.announced[spec["name"]] = spec["md5"]
        files.append(
            {
                "__typename": "File",
                "storagePath": spec["name"],
                "uploadUrl": None if held else file_url(call, artifact, spec["name"]),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": held.owner if held else artifact,
            }
        )
    return {"files": connection(files)}


def _commit_artifact(_: object, call: Call) -> Json:
    artifact = _artifact(call.store, call.input["artifactID"])
    artifact.commit()
    return {"artifact": artifact}


def _use_artifact(_: object, call: Call) -> Json:
    artifact, run = _artifact(call.store, call.input["artifactID"]), _run(call.store, call.input)
    if run not in artifact.used_by:
        artifact.used_by.append(run)
        run.used.append(artifact)
    return {"artifact": artifact}


def _update_artifact(_: object, call: Call) -> Json:
    given, artifact = call.input, _artifact(call.store, call.input["artifactID"])
    if given.get("metadata") is not None:
        artifact.metadata = json.loads(given["metadata"])
    if given.get("description") is not None:
        artifact.description = given["description"]
    gone = {one["tagName"] for one in given.get("tagsToDelete") or []}
    new = [one["tagName"] for one in given.get("tagsToAdd") or []]
    artifact.tags = [tag for tag in artifact.tags if tag not in gone] + new
    artifact.updated_at = now()
    return {"artifact": artifact}


def _change_aliases(call: Call, *, add: bool) -> Json:
    artifact = _artifact(call.store, call.input["artifactID"])
    for one in call.input["aliases"]:
        project = call.store.project(one["entityName"], one["projectName"])
        collection = project.collections.get(one["artifactCollectionName"]) if project else None
        if collection is None:
            raise Refused(f"artifact collection {one['artifactCollectionName']} not found", 404)
        if add:
            collection.aliases[one["alias"]] = artifact
        else:
            collection.aliases.pop(one["alias"], None)
    return {"success": True}


def _link_artifact(_: object, call: Call) -> Json:
    given, store = call.input, call.store
    artifact = _artifact(store, given.get("artifactID") or given.get("clientID"))
    project = store.make_project(given["entityName"], given["projectName"])
    name = given["artifactPortfolioName"]
    collection = store.make_collection(project, name, artifact.type, "ArtifactPortfolio")
    if collection not in artifact.links:
        artifact.links.append(collection)
        collection.add(artifact)
    wanted = [one["alias"] for one in given.get("aliases") or []]
    collection.aliases.update(dict.fromkeys(wanted, artifact))
    version = collection.version_of(artifact)
    return {"versionIndex": version, "artifactMembership": member(collection, artifact)}


def _unlink_artifact(_: object, call: Call) -> Json:
    artifact = _artifact(call.store, call.input["artifactID"])
    collection = _collection(call.store, call.input["artifactPortfolioID"])
    collection.remove(artifact)
    artifact.links.remove(collection)
    return {"success": True}


def _delete_artifact(_: object, call: Call) -> Json:
    artifact = _artifact(call.store, call.input["artifactID"])
    if artifact.aliases and not call.input.get("deleteAliases"):
        raise Refused("cannot delete an artifact that has aliases", 400)
    call.store.delete_artifact(artifact)
    return {"artifact": {"__typename": "Artifact", "id": artifact.id}}


def _upsert_model(_: object, call: Call) -> Json:
    existed = call.store.project(call.input.get("entityName"), call.input.get("name")) is not None
    project = call.store.make_project(call.input.get("entityName"), call.input.get("name"))
    return {"project": project, "model": project, "inserted": not existed}


def _view(store: Store, view_id: str) -> View:
    found = store.get(View, view_id)
    if found is None:
        raise Refused(f"view {view_id} not found", 404)
    return found


def _upsert_view(_: object, call: Call) -> Json:
    """Change the view with this id; without an id make one, even where another has the same names."""
    given, store = call.input, call.store
    if given.get("id"):
        view = _view(store, given["id"])
    else:
        project = store.project(given.get("entityName"), given.get("projectName"))
        if project is None:
            raise Refused(f"project {given.get('entityName')}/{given.get('projectName')} not found", 404)
        view = store.make_view(project, given["type"])
    for attribute, argument in {
        "type": "type",
        "name": "name",
        "display_name": "displayName",
        "description": "description",
        "spec": "spec",
    }.items():
        if given.get(argument) is not None:
            setattr(view, attribute, given[argument])
    view.updated_at = now()
    return {"view": view, "inserted": not given.get("id")}


def _delete_view(_: object, call: Call) -> Json:
    call.store.delete_view(_view(call.store, call.input["id"]))
    return {"success": True, "pendingDrafts": []}


MUTATION: Fields = {
    "upsertBucket": _upsert_bucket,
    "upsertModel": _upsert_model,
    "deleteRun": _delete_run,
    "stopRun": _stop_run,
    "createRunFiles": _create_run_files,
    "markRunFilesUploaded": lambda *_: {"success": True},
    "deleteFiles": _delete_files,
    "createArtifact": _create_artifact,
    "createArtifactManifest": lambda _, call: _manifest_answer(call, _artifact(call.store, call.input["artifactID"])),
    "createArtifactFiles": _create_artifact_files,
    "commitArtifact": _commit_artifact,
    "useArtifact": _use_artifact,
    "updateArtifact": _update_artifact,
    "addAliases": lambda _, call: _change_aliases(call, add=True),
    "deleteAliases": lambda _, call: _change_aliases(call, add=False),
    "linkArtifact": _link_artifact,
    "unlinkArtifact": _unlink_artifact,
    "deleteArtifact": _delete_artifact,
    "upsertView": _upsert_view,
    "deleteView": _delete_view,
}
