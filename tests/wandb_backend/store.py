"""What the loopback W&B server remembers: entities, projects, runs, artifacts and views; no HTTP and no GraphQL."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import secrets
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, TypeVar

_T = TypeVar("_T")

_CONSOLE_STAMP = re.compile(r"^(?:ERROR )?\d{4}-\d\d-\d\dT\S+ ")

HEARTBEAT_TIMEOUT = timedelta(minutes=5)
HISTORY, EVENTS, SUMMARY, CONSOLE = (
    "wandb-history.jsonl",
    "wandb-events.jsonl",
    "wandb-summary.json",
    "output.log",
)


class Refused(Exception):  # noqa: N818 -- an answer of the server, not a fault of it
    """The server's reasoned no: GraphQL errors, sent with an HTTP status."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


def now() -> datetime:
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def b64md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _global_id(*parts: object) -> str:
    return base64.b64encode(":".join(map(str, parts)).encode()).decode()


@dataclass(frozen=True)
class Blob:
    """The bytes of one file as the storage holds them; `owner` is the artifact or run that brought them.

    `size` and `md5` are what is said of the file: the storage may hold something else, or nothing at all.
    """

    typename: ClassVar[str] = "File"
    name: str
    data: bytes
    owner: Run | Artifact
    updated_at: datetime = field(default_factory=now)
    size: int = -1
    md5: str = ""
    is_stored: bool = True

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", len(self.data))
            object.__setattr__(self, "md5", b64md5(self.data))

    @property
    def id(self) -> str:
        return _global_id("File", self.owner.typename, self.owner.number, self.name)


@dataclass(eq=False)
class Project:
    """A project with its runs by id and its artifact collections by name."""

    typename: ClassVar[str] = "Project"
    entity: str
    name: str
    number: int
    created_at: datetime = field(default_factory=now)
    runs: dict[str, Run] = field(default_factory=dict, repr=False)
    deleted_runs: set[str] = field(default_factory=set)
    collections: dict[str, Collection] = field(default_factory=dict, repr=False)
    views: dict[str, View] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        return _global_id("Project", "v1", self.name, self.entity)


@dataclass(eq=False)
class View:
    """A report (`runs`), a draft of one (`runs/draft`) or a saved workspace (`project-view`); the spec is as sent."""

    typename: ClassVar[str] = "View"
    project: Project = field(repr=False)
    number: int
    type: str
    name: str = ""
    display_name: str = ""
    description: str = ""
    spec: str = field(default="{}", repr=False)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def id(self) -> str:
        return _global_id("View", self.number)


@dataclass(eq=False)
class Run:
    """A run; `raw_config` and `streams` are as sent, `config`, `history` and `console` as people mean them.

    `streams` holds, for each streamed file, the text of each line by its number, so that a repeated post
    changes nothing, as on the real server.
    """

    typename: ClassVar[str] = "Run"
    project: Project = field(repr=False)
    id: str
    number: int
    display_name: str
    raw_config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict, repr=False)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    description: str | None = None
    commit: str | None = None
    host: str | None = None
    program: str | None = None
    exit_code: int | None = None
    stopped: bool = False
    created_at: datetime = field(default_factory=now)
    heartbeat_at: datetime = field(default_factory=now)
    files: dict[str, Blob] = field(default_factory=dict, repr=False)
    used: list[Artifact] = field(default_factory=list, repr=False)
    logged: list[Artifact] = field(default_factory=list, repr=False)

    @property
    def global_id(self) -> str:
        return _global_id("Run", "v1", self.id, self.project.name, self.project.entity)

    @property
    def state(self) -> str:
        if self.exit_code is not None:
            return "failed" if self.exit_code else "finished"
        return "crashed" if now() - self.heartbeat_at > HEARTBEAT_TIMEOUT else "running"

    @property
    def config(self) -> dict[str, Any]:
        hidden = {"_wandb", "wandb_version"}
        return {key: entry["value"] for key, entry in self.raw_config.items() if key not in hidden}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(HISTORY)]

    @property
    def console(self) -> list[str]:
        return [_CONSOLE_STAMP.sub("", line) for line in self.lines(CONSOLE)]

    def lines(self, stream: str) -> list[str]:
        return [line for _, line in sorted(self.streams.get(stream, {}).items())]

    def receive(self, posted: dict[str, Any]) -> None:
        """Take one post of the file stream."""
        self.heartbeat_at = now()
        for name, chunk in posted.get("files", {}).items():
            numbered = enumerate(chunk["content"], start=chunk["offset"])
            self.streams.setdefault(name, {}).update(numbered)
        if SUMMARY in posted.get("files", {}):
            self.summary = json.loads(posted["files"][SUMMARY]["content"][-1])
        if posted.get("complete"):
            self.exit_code = posted.get("exitcode", 0)


@dataclass(eq=False)
class Collection:
    """The versions and aliases of one artifact name: a sequence that runs log to, or a portfolio of links."""

    project: Project = field(repr=False)
    name: str
    type: str
    number: int
    typename: Literal["ArtifactSequence", "ArtifactPortfolio"] = "ArtifactSequence"
    description: str | None = None
    tags: list[str] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)
    versions: dict[int, Artifact] = field(default_factory=dict, repr=False)
    aliases: dict[str, Artifact] = field(default_factory=dict, repr=False)
    pending: list[Artifact] = field(default_factory=list, repr=False)
    blobs: dict[str, Blob] = field(default_factory=dict, repr=False)
    next_version: int = 0

    @property
    def id(self) -> str:
        return _global_id("ArtifactCollection", self.number)

    def find(self, alias: str) -> Artifact | None:
        if match := re.fullmatch(r"v(\d+)", alias):
            return self.versions.get(int(match[1]))
        return self.aliases.get(alias)

    def version_of(self, artifact: Artifact) -> int:
        return next(version for version, member in self.versions.items() if member is artifact)

    def add(self, artifact: Artifact) -> None:
        """Make the artifact the newest version, which moves `latest` to it."""
        self.versions[self.next_version] = artifact
        self.next_version += 1
        self.aliases["latest"] = artifact

    def remove(self, artifact: Artifact) -> None:
        self.versions = {number: one for number, one in self.versions.items() if one is not artifact}
        self.aliases = {alias: one for alias, one in self.aliases.items() if one is not artifact}


@dataclass(eq=False)
class Artifact:
    """One version of an artifact; it is invisible by name until its upload is committed."""

    typename: ClassVar[str] = "Artifact"
    collection: Collection = field(repr=False)
    number: int
    digest: str
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    wanted_aliases: list[str] = field(default_factory=list)
    history_step: int | None = None
    created_by: Run | None = field(default=None, repr=False)
    used_by: list[Run] = field(default_factory=list, repr=False)
    links: list[Collection] = field(default_factory=list, repr=False)
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)
    announced: dict[str, str] = field(default_factory=dict, repr=False)
    state: Literal["PENDING", "COMMITTED", "DELETED"] = "PENDING"
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def id(self) -> str:
        return _global_id("Artifact", self.number)

    @property
    def version(self) -> int | None:
        return self.collection.version_of(self) if self.state == "COMMITTED" else None

    @property
    def name(self) -> str:
        return f"{self.collection.name}:v{self.version}"

    @property
    def type(self) -> str:
        return self.collection.type

    @property
    def aliases(self) -> list[str]:
        return [alias for alias, artifact in self.collection.aliases.items() if artifact is self]

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """The manifest's entries by path, references to other places included."""
        entries: dict[str, dict[str, Any]] = self.manifest.get("contents", {})
        return entries

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes that the storage holds; a file without any is left out."""
        return {name: blob.data for name, blob in self.blobs.items() if blob.is_stored}

    @property
    def blobs(self) -> dict[str, Blob]:
        """The files by path, with the sizes and digests that the manifest says."""
        found = {}
        for name, entry in self.entries.items():
            if not entry.get("ref"):
                held = self.collection.blobs.get(entry["digest"])
                said = {"owner": self, "size": entry.get("size", 0), "md5": entry["digest"]}
                found[name] = replace(held or Blob(name, b"", self, is_stored=False), name=name, **said)
        return found

    def commit(self) -> None:
        if self.state == "COMMITTED":
            return  # asked again by somebody who did not get the answer
        if not self.manifest:
            raise Refused("cannot commit an artifact without a manifest", 400)
        missing = {
            name
            for name, entry in self.entries.items()
            if not entry.get("ref") and entry["digest"] not in self.collection.blobs
        }
        if missing:
            raise Refused(f"cannot commit: files were not uploaded: {sorted(missing)}", 400)
        self.collection.pending.remove(self)
        self.collection.add(self)
        self.state = "COMMITTED"
        self.collection.aliases.update(dict.fromkeys(self.wanted_aliases, self))


class Store:
    """Everything the server holds; take `lock` around anything that reads or changes more than one thing."""

    def __init__(self, user: str, team: str, organization: str) -> None:
        self.user, self.team, self.organization = user, team, organization
        self.organization_entity = f"{organization}-org"
        self.other_entities: set[str] = set()
        self.url = ""
        self.lock = threading.RLock()
        self.projects: dict[tuple[str, str], Project] = {}
        self.objects: dict[str, Run | Artifact | Collection | View] = {}
        # The SDK caches artifacts by id for as long as its process lives, so two servers may share none.
        self._numbers = itertools.count(secrets.randbelow(10**9) + 1)

    @property
    def entities(self) -> set[str]:
        return {self.user, self.team, self.organization_entity} | self.other_entities

    def get(self, kind: type[_T], key: object) -> _T | None:
        """The object of a kind by its global id, its number, or the id that the client gave it."""
        found = self.objects.get(str(key))
        return found if isinstance(found, kind) else None

    def _keep(self, thing: Run | Artifact | Collection | View) -> None:
        identity = thing.global_id if isinstance(thing, Run) else thing.id
        self.objects[identity] = self.objects[str(thing.number)] = thing

    def project(self, entity: str | None, name: str | None) -> Project | None:
        return self.projects.get((entity or self.user, name or "uncategorized"))

    def make_project(self, entity: str | None, name: str | None) -> Project:
        entity, name = entity or self.user, name or "uncategorized"
        if entity not in self.entities:
            raise Refused(f"entity {entity} not found", 404)
        if (entity, name) not in self.projects:
            self.projects[entity, name] = Project(entity, name, next(self._numbers))
        return self.projects[entity, name]

    def run(self, entity: str | None, project: str | None, run_id: str | None) -> Run | None:
        held = self.project(entity, project)
        return held.runs.get(run_id or "") if held else None

    def make_run(self, project: Project, run_id: str) -> Run:
        if run_id in project.deleted_runs:
            raise Refused(f"run {run_id} was previously created and deleted; try a new run id", 409)
        number = next(self._numbers)
        run = Run(project=project, id=run_id, number=number, display_name=f"quiet-river-{number}")
        project.runs[run_id] = run
        self._keep(run)
        return run

    def delete_run(self, run: Run, *, with_artifacts: bool) -> None:
        del run.project.runs[run.id], self.objects[run.global_id], self.objects[str(run.number)]
        run.project.deleted_runs.add(run.id)
        for artifact in run.used:
            artifact.used_by.remove(run)
        for artifact in run.logged:
            if artifact.created_by is run:
                artifact.created_by = None
                if with_artifacts and artifact.state == "COMMITTED":
                    self.delete_artifact(artifact)

    def make_collection(
        self,
        project: Project,
        name: str,
        kind: str,
        typename: Literal["ArtifactSequence", "ArtifactPortfolio"] = "ArtifactSequence",
    ) -> Collection:
        if name not in project.collections:
            project.collections[name] = Collection(project, name, kind, next(self._numbers), typename)
            self._keep(project.collections[name])
        collection = project.collections[name]
        if collection.type != kind:
            raise Refused(f"collection {name} holds type {collection.type}, not {kind}", 400)
        return collection

    def make_artifact(self, collection: Collection, digest: str) -> Artifact:
        artifact = Artifact(collection, next(self._numbers), digest)
        collection.pending.append(artifact)
        self._keep(artifact)
        return artifact

    def make_view(self, project: Project, kind: str) -> View:
        view = View(project, next(self._numbers), kind)
        project.views[view.id] = view
        self._keep(view)
        return view

    def delete_view(self, view: View) -> None:
        del view.project.views[view.id], self.objects[view.id], self.objects[str(view.number)]

    def delete_artifact(self, artifact: Artifact) -> None:
        for collection in (artifact.collection, *artifact.links):
            collection.remove(artifact)
        artifact.state = "DELETED"
        # What no version refers to any more goes, so that a later upload of the same bytes is asked for again. Assumed:
        # where the server reuses a file, only W&B's own code says.
        digests = {entry["digest"] for one in artifact.collection.versions.values() for entry in one.entries.values()}
        digests |= {digest for one in artifact.collection.pending for digest in one.announced.values()}
        blobs = artifact.collection.blobs
        artifact.collection.blobs = {digest: blob for digest, blob in blobs.items() if digest in digests}
        for run in (*artifact.used_by, *([artifact.created_by] if artifact.created_by else [])):
            run.used = [one for one in run.used if one is not artifact]
            run.logged = [one for one in run.logged if one is not artifact]
