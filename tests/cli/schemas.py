"""Judges what a command printed by what `ftsync schema` prints, with every field forbidden that is not named there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync, Said


class Judge:
    """Holds the printed schemas against what commands print."""

    def __init__(self, ftsync: Ftsync) -> None:
        self._ftsync = ftsync

    def document(self, command: str, said: Said) -> dict[str, Any]:
        """Return the document, which is as the schema of the command says."""
        document = said.json
        validator(_printed(self._ftsync("schema", command))).validate(document)
        return document

    def lines(self, command: str, said: Said) -> list[dict[str, Any]]:
        """Return the lines, each of which is as the schema of the command says."""
        lines = [json.loads(line) for line in said.out.splitlines()]
        strict = validator(_printed(self._ftsync("schema", command, "--jsonl")))
        for line in lines:
            strict.validate(line)
            assert datetime.fromisoformat(line["time"]).tzinfo == UTC
        return lines


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return who refuses what is not as a schema says, and every field that it does not name."""
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(_closed(schema))


def _printed(said: Said) -> dict[str, Any]:
    assert said.code == 0
    return said.json


def _closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the schema with every object closed to fields that it does not name."""
    match schema:
        case list():
            return [_closed(below) for below in schema]
        case {"properties": _}:
            return {name: _closed(below) for name, below in schema.items()} | {"additionalProperties": False}
        case dict():
            return {name: _closed(below) for name, below in schema.items()}
        case _:
            return schema
