"""Asks W&B what it holds of many runs with one query; reads no history and no file's content."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from ft_sync import content
from ft_sync.content import LOG, ROWS, STATE, RunContent
from ft_sync.models import RunId
from ft_sync.names import FOLDER
from ft_sync.sinks.held import A_PAGE, NO_SUCH_QUESTION, collection, console_log, run_files
from ft_sync.sinks.sdk import COMMITTED, graphql, listed_artifacts, remove_folder, unread_run
from ft_sync.sinks.wandb import http_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import wandb
    from wandb.apis.public import Run

    from ft_sync.content import Item

RUNS_AT_ONCE = 50
"""Runs per query: each brings its config, its summary, and the names of its files and artifacts."""

UNKNOWN_FIELD = re.compile(r"cannot query field|unknown (argument|field|type)", re.IGNORECASE)
"""Matches the answer of a server that does not know a field, which may come without an HTTP status."""

# All of these fields are in queries of the SDK: for `Api.runs`, `Run.files`, `Run.used_artifacts`,
# `Run.logged_artifacts` and `Run.console_logs`.
FIELDS = "name displayName state tags notes group jobType config summaryMetrics historyLineCount"

PARTS = """
    logLineCount
    files(pattern: "FOLDER/%", first: A_PAGE) { edges { node { name sizeBytes } } pageInfo { hasNextPage } }
    inputArtifacts(first: A_PAGE) { edges { node { ...Stored } } pageInfo { hasNextPage } }
    outputArtifacts(first: A_PAGE) { edges { node { ...Stored } } pageInfo { hasNextPage } }
""".replace("FOLDER", FOLDER).replace("A_PAGE", str(A_PAGE))
"""What the SDK itself asks only of single runs, so that an older server may not list it."""

STORED = "fragment Stored on Artifact { id state size artifactSequence { name } }"

LISTED = """
query Runs($project: String!, $entity: String!, $filters: JSONString, $perPage: Int) {
    project(name: $project, entityName: $entity) {
        runs(filters: $filters, first: $perPage) { edges { node { FIELDS } } }
    }
}
"""

SINGLE = """
query Run($project: String!, $entity: String!, $name: String!) {
    project(name: $project, entityName: $entity) {
        run(name: $name) { FIELDS }
    }
}
"""


class StoredRuns:
    """Reads what W&B holds of runs, and remembers whether the server lists all of it."""

    def __init__(self) -> None:
        self._lists_parts = True

    def read(
        self, api: wandb.Api, path: str, run_ids: Sequence[RunId], *, singly: bool = False
    ) -> dict[RunId, RunContent]:
        """Return what W&B holds of these runs; runs that W&B does not return are left out.

        Args:
            api: The API object for the queries.
            path: The project, after its entity and a slash where there is an entity.
            run_ids: The runs.
            singly: Ask for each run by itself.
        """
        entity, _, project = path.rpartition("/")
        variables = {"entity": entity, "project": project}
        if singly:
            answers = [self._ask(api, SINGLE, {**variables, "name": run_id}) for run_id in run_ids]
            nodes = [node for answer in answers if (node := answer.get("run"))]
        else:
            named = {"filters": json.dumps({"name": {"$in": [*run_ids]}}), "perPage": len(run_ids)}
            nodes = _nodes(self._ask(api, LISTED, {**variables, **named}).get("runs"))
        return {RunId(node["name"]): _content(node, _run(api, path, node["name"])) for node in nodes}

    def _ask(self, api: wandb.Api, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the project in the answer; empty if there is no such project."""
        if self._lists_parts:
            try:
                return _project(graphql(api, query.replace("FIELDS", FIELDS + PARTS) + STORED, variables))
            except WandbApiFailedError as error:
                if http_status(error) not in NO_SUCH_QUESTION and not UNKNOWN_FIELD.search(str(error)):
                    raise
                self._lists_parts = False
        return _project(graphql(api, query.replace("FIELDS", FIELDS), variables))


def _content(node: Mapping[str, Any], run: Run) -> RunContent:
    """Return the content of a run; parts that the server does not list are read run by run, as the SDK does."""
    items: dict[str, Item] = {STATE: str(node.get("state"))}
    counts = {ROWS: node.get("historyLineCount"), LOG: _lines(node, run)}
    items |= {name: count for name, count in counts.items() if count is not None}
    items |= content.values("config", {key: _value(entry) for key, entry in _json(node.get("config")).items()})
    items |= content.values("summary", _json(node.get("summaryMetrics")))
    items |= content.tagged(node.get("tags") or ())
    items |= content.texts(
        name=node.get("displayName"), notes=node.get("notes"), job_type=node.get("jobType"), group=node.get("group")
    )
    items |= {f"file {name}": size for name, size in _files(node, run)}
    items |= _artifacts(node, run)
    return RunContent(items, frozenset(name for name, count in counts.items() if count is None))


def _lines(node: Mapping[str, Any], run: Run) -> int | None:
    """Return the number of lines in the console log; None if the server is too old to return them."""
    if isinstance(listed := node.get("logLineCount"), int):
        return listed
    log = console_log(run)
    return None if log is None else len(log)


def _files(node: Mapping[str, Any], run: Run) -> Iterator[tuple[str, int]]:
    if _is_whole(listed := node.get("files")):
        yield from ((file["name"], int(file["sizeBytes"] or 0)) for file in _nodes(listed))
    else:
        yield from ((file.name, file.size) for file in run_files(run))


def _artifacts(node: Mapping[str, Any], run: Run) -> Iterator[tuple[str, Item]]:
    for field, read in (("inputArtifacts", run.used_artifacts), ("outputArtifacts", run.logged_artifacts)):
        if _is_whole(listed := node.get(field)):
            for one in (one for one in _nodes(listed) if (one.get("state") or COMMITTED) == COMMITTED):
                size = one.get("size")
                yield content.artifact(one["artifactSequence"]["name"], one["id"], None if size is None else int(size))
        else:
            held, _ = listed_artifacts(read(A_PAGE))
            yield from (content.artifact(collection(one), str(one.id), one.size) for one in held)


def _project(answer: Mapping[str, Any]) -> dict[str, Any]:
    return answer.get("project") or {}


def _nodes(connection: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [edge["node"] for edge in (connection or {}).get("edges") or ()]


def _is_whole(connection: object) -> bool:
    """Whether the connection is there and has no further page."""
    return isinstance(connection, dict) and not (connection.get("pageInfo") or {}).get("hasNextPage")


def _json(text: str | None) -> dict[str, Any]:
    value = json.loads(text or "{}", strict=False)
    return value if isinstance(value, dict) else {}


def _value(entry: object) -> object:
    """Return the value of a config's entry."""
    return entry["value"] if isinstance(entry, dict) and "value" in entry else entry


def _run(api: wandb.Api, path: str, run_id: str) -> Run:
    run = unread_run(api, path, run_id)
    remove_folder(run)
    return run
