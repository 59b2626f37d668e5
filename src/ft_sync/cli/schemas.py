"""Generates the JSON Schemas of each command's output from the types in shapes.py."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ft_sync.cli import shapes
from ft_sync.cli.render import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

Object: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

DOCUMENTS: dict[str, tuple[type, ...]] = {
    "sync": (shapes.SyncReport, shapes.SyncPreview),
    "resync": (shapes.SyncReport, shapes.SyncPreview),
    "verify": (shapes.Verification,),
    "list": (shapes.JobList,),
    "status": (shapes.JobsInDepth, shapes.JobCounts),
    "archive": (shapes.ArchiveReport, shapes.ArchiveCheck),
    "report": (shapes.ProjectReport,),
    "config": (shapes.Settings, shapes.SettingsFiles),
    "doctor": (shapes.Diagnosis,),
    "demo": (shapes.SyncReport,),
}
"""The documents that each command prints with `--json` if it does not fail."""

_ASKING = {"provider_guessed": shapes.ProviderGuessed, "delayed": shapes.Delayed}
_SYNCING = {
    **_ASKING,
    "destination": shapes.Destination,
    "planned": shapes.Planned,
    "started": shapes.Plan,
    "advanced": shapes.Advanced,
    "waiting": shapes.Waiting,
    "noted": shapes.Noted,
    "settled": shapes.Outcome,
    "interrupted": shapes.Interrupted,
}
_VERIFYING = {**_SYNCING, "selected": shapes.Selected, "verified": shapes.Verdict}
_ARCHIVING = {
    **_ASKING,
    "selected": shapes.Selected,
    "job_archived": shapes.Stored,
    "interrupted": shapes.Interrupted,
    "problem": shapes.Problem,
}
_LISTING = {**_ASKING, "failed": shapes.Outcome, "end": shapes.End}

LINES: dict[str, tuple[dict[str, type], Sequence[type]]] = {
    "sync": (_SYNCING, DOCUMENTS["sync"]),
    "resync": (_SYNCING, DOCUMENTS["resync"]),
    "verify": (_VERIFYING, DOCUMENTS["verify"]),
    "list": ({**_LISTING, "job": shapes.Job}, ()),
    "status": ({**_LISTING, "job": shapes.JobInDepth}, (shapes.JobCounts,)),
    "archive": (_ARCHIVING, DOCUMENTS["archive"]),
    "demo": (_SYNCING, DOCUMENTS["demo"]),
}
"""The lines that each command prints with `--jsonl`: by event name, and the documents possible as the last line."""


def of_document(command: str) -> Object:
    """Return the schema of a command's `--json` document."""
    kinds = (*DOCUMENTS[command], shapes.Failure)
    return _schema(f"ftsync {command} --json", [(shape, shape.__name__, {}) for shape in kinds])


def of_lines(command: str) -> Object:
    """Return the schema of each line of a command's `--jsonl`."""
    events, reports = LINES[command]
    lines = [*events.items(), *(("report", shape) for shape in reports), ("error", shapes.Failure)]
    return _schema(f"a line of ftsync {command} --jsonl", [(shape, name, _line(name)) for name, shape in lines])


def _line(event: str) -> Object:
    """Return the schema of the fields common to all lines."""
    return {
        "event": {"description": "What the line tells.", "const": event},
        "time": {"description": "When it was written, ISO 8601 in UTC.", "type": "string", "format": "date-time"},
    }


def _schema(title: str, shown: Sequence[tuple[type, str, Object]]) -> Object:
    """Return the schema of a union of shapes, each with its name and its additional leading fields."""
    definitions = _definitions([shape for shape, _, _ in shown])
    version = {"description": "Raised when a field changes its meaning; new fields may appear.", "const": SCHEMA}
    choices = [_headed(definitions[shape.__name__], name, {"schema": version, **head}) for shape, name, head in shown]
    return {
        "$schema": DIALECT,
        "title": title,
        "type": "object",
        "anyOf": choices,
        "$defs": {name: definitions[name] for name in sorted(_named_in(choices, definitions))},
    }


def _definitions(kinds: Sequence[type]) -> dict[str, Object]:
    """Return the schemas of all shapes and of those nested in them, by name."""
    # A union with another shape, since pydantic makes no definition for a single type.
    either: Any = Union[(*kinds, shapes.Failure)]
    definitions: dict[str, Object] = TypeAdapter(either).json_schema(mode="serialization", schema_generator=_Untitled)[
        "$defs"
    ]
    return definitions


class _Untitled(GenerateJsonSchema):
    """Omits the titles of fields, which would only repeat their names."""

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


def _headed(shape: Object, name: str, head: Object) -> Object:
    return {
        **shape,
        "title": name,
        "properties": {**head, **shape["properties"]},
        "required": [*head, *shape.get("required", [])],
    }


def _named_in(content: object, definitions: dict[str, Object]) -> set[str]:
    """Return the names of all definitions that a schema refers to, directly or indirectly."""
    names = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(content)))
    return names.union(*(_named_in(definitions[name], definitions) for name in names))
