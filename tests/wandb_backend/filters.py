"""The Mongo-style filters and orders that `Api().runs` sends; pure: a document in, a verdict out."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.wandb_backend.store import Refused, Run, iso

if TYPE_CHECKING:
    from collections.abc import Callable

Document: TypeAlias = dict[str, Any]

_MISSING: Any = object()


def document(run: Run) -> Document:
    """The run as filters and orders see it, under every spelling that W&B takes."""
    created, beat = iso(run.created_at), iso(run.heartbeat_at)
    return {
        "name": run.id,
        "display_name": run.display_name,
        "displayName": run.display_name,
        "state": run.state,
        "job_type": run.job_type,
        "jobType": run.job_type,
        "group": run.group,
        "tags": run.tags,
        "notes": run.notes,
        "username": run.project.entity,
        "created_at": created,
        "createdAt": created,
        "heartbeat_at": beat,
        "heartbeatAt": beat,
        "config": run.raw_config,
        "summary_metrics": run.summary,
        "summaryMetrics": run.summary,
    }


def _look_up(value: object, path: str) -> Any:  # noqa: ANN401 -- whatever JSON stands at the path
    """The value at a dotted path; keys may hold dots themselves, and `config.x` means `config.x.value`."""
    if not path:
        if isinstance(value, dict) and "value" in value and value.keys() <= {"value", "desc"}:
            return value["value"]
        return value
    if not isinstance(value, dict):
        return _MISSING
    parts = path.split(".")
    for size in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:size]), ".".join(parts[size:])
        if key in value:
            found = _look_up(value[key], rest)
            if found is _MISSING and isinstance(value[key], dict) and "value" in value[key]:
                found = _look_up(value[key]["value"], rest)
            if found is not _MISSING:
                return found
    return _MISSING


def _equal(found: object, wanted: object) -> bool:
    """Mongo's equality: null also means missing, and a list equals any of its members."""
    if found is _MISSING:
        return wanted is None
    return found == wanted or (isinstance(found, list) and wanted in found)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def verdict(found: Any, wanted: Any) -> bool:  # noqa: ANN401 -- numbers or strings, of one kind
        numbers = isinstance(found, int | float) and isinstance(wanted, int | float)
        strings = isinstance(found, str) and isinstance(wanted, str)
        return (numbers or strings) and compare(found, wanted)

    return verdict


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda found, wanted: not _equal(found, wanted),
    "$in": lambda found, wanted: any(_equal(found, one) for one in wanted),
    "$nin": lambda found, wanted: not any(_equal(found, one) for one in wanted),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$exists": lambda found, wanted: (found is not _MISSING) == bool(wanted),
    "$regex": lambda found, wanted: isinstance(found, str) and re.search(wanted, found) is not None,
    "$not": lambda found, wanted: not _passes(found, wanted),
}

_JUNCTIONS: dict[str, Callable[[Document, list[Any]], bool]] = {
    "$and": lambda doc, parts: all(matches(doc, part) for part in parts),
    "$or": lambda doc, parts: any(matches(doc, part) for part in parts),
    "$nor": lambda doc, parts: not any(matches(doc, part) for part in parts),
}


def _passes(found: object, condition: object) -> bool:
    if not isinstance(condition, dict) or not any(key.startswith("$") for key in condition):
        return _equal(found, condition)
    if unknown := condition.keys() - _TESTS.keys():
        raise Refused(f"unknown filter operator: {sorted(unknown)}", 400)
    return all(_TESTS[name](found, wanted) for name, wanted in condition.items())


def matches(doc: Document, filters: dict[str, Any]) -> bool:
    for key, condition in filters.items():
        if key in _JUNCTIONS:
            if not _JUNCTIONS[key](doc, condition):
                return False
        elif key == "$not":
            if matches(doc, condition):
                return False
        elif key.startswith("$"):
            raise Refused(f"unknown filter operator: {key}", 400)
        elif not _passes(_look_up(doc, key), condition):
            return False
    return True


def select(runs: list[Run], filters: dict[str, Any], order: str = "") -> list[Run]:
    """The runs that match, ordered by `+key` or `-key`; missing values come last."""
    found = [run for run in runs if not filters or matches(document(run), filters)]
    found.sort(key=lambda run: run.number)
    key = order.lstrip("+-") or "created_at"
    if key not in {"created_at", "createdAt"}:
        values = {run.number: _look_up(document(run), key) for run in found}
        present = [run for run in found if values[run.number] not in (_MISSING, None)]
        present.sort(key=lambda run: values[run.number], reverse=order.startswith("-"))
        return present + [run for run in found if values[run.number] in (_MISSING, None)]
    return found[::-1] if order.startswith("-") else found
