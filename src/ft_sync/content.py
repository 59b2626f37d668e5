"""What a run contains as far as one bulk query can tell, and what W&B lacks of it; pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ft_sync.models import UNCLOSED
from ft_sync.names import NATIVE_TAG, REPLACED_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

STATE, ROWS, LOG = "state", "rows", "console log"

ONLY_OURS = ("config.", f"tag {REPLACED_TAG}", f"tag {NATIVE_TAG}")
"""How the names of items begin that a run written by ftsync alone has only as it was written."""

NOT_OURS = re.compile(r"config\.(_wandb\b|n_train$|n_valid$|fine_tune_job_id$)")
"""Items that W&B adds, and those that an earlier sync of the same job may have left."""

ITEMS_NAMED = 3
"""Maximum number of lacking items of one kind that a message lists."""

Item: TypeAlias = str | int | None
"""A number or a fingerprint; None if only the presence of the item is known."""


@dataclass(frozen=True, slots=True)
class RunContent:
    """The content of a run, either as this process has written it or as W&B returns it.

    It is kept for every run that is not confirmed yet, so it holds fingerprints instead of values.

    Attributes:
        items: What the run contains, by name: `state`, `rows`, `console log` (lines), `config.KEY`, `summary.KEY`,
            `tag TAG`, `notes`, `file PATH` (bytes), `artifact NAME@ID` (bytes), ….
        unknown: The first words of the names of items that W&B does not return; they cannot be compared.
        only: How the names of items begin that may only be there as written.
    """

    items: Mapping[str, Item] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lack:
    """An item that W&B does not return as it was written.

    Attributes:
        found: None if W&B does not return it at all.
        is_extra: W&B returns it, although it was not written.
    """

    item: str
    written: Item
    found: Item = None
    is_extra: bool = False

    @property
    def is_open_end(self) -> bool:
        """Whether W&B has missed only that the run has ended."""
        return self.item == STATE and self.found in UNCLOSED

    def __str__(self) -> str:
        if self.is_extra:
            return f"{self.item} (which was not written)"
        unit = {ROWS: "rows", LOG: "lines of the console log"}.get(self.item)
        if self.item == STATE:
            return f"state {self.written} (it is {self.found})"
        if unit is not None:
            return f"{self.found or 0} of {self.written} {unit}"
        is_size = isinstance(self.written, int) and self.found is not None
        return f"{self.item} ({self.found} of {self.written} bytes)" if is_size else self.item


def lacking(written: RunContent, found: RunContent) -> tuple[Lack, ...]:
    """Return what W&B does not return as it was written; what it returns in addition is no lack, but for `only`."""
    lacks = (
        Lack(item, value, found.items.get(item))
        for item, value in written.items.items()
        if _kind(item) not in found.unknown and (item not in found.items or _differ(value, found.items[item]))
    )
    extra = (
        Lack(item, None, value, is_extra=True)
        for item, value in found.items.items()
        if item.startswith(written.only) and not _was_written(item, written) and not NOT_OURS.match(item)
    )
    return (*lacks, *extra)


def _was_written(item: str, written: RunContent) -> bool:
    """Whether the item, or one that it may be a part of after the SDK has made something else of it, was written."""
    parts = item.split(".")
    above = (".".join(parts[:end]) for end in range(1, len(parts)))
    return item in written.items or any(written.items.get(name, "") is None for name in above)


def _differ(written: Item, found: Item) -> bool:
    return None not in {written, found} and written != found


def not_compared(written: RunContent, found: RunContent) -> tuple[str, ...]:
    """Name the kinds of items that were written but that W&B does not return."""
    kinds = dict.fromkeys(map(_kind, written.items))
    return tuple(kind for kind in kinds if kind in found.unknown)


def named(lacks: Iterable[Lack]) -> str:
    """Return the lacks as text for a message, the first ones of each kind one by one."""
    kinds: dict[str, list[Lack]] = defaultdict(list)
    for lack in lacks:
        kinds[_kind(lack.item)].append(lack)
    return ", ".join(_named(kind, of_kind) for kind, of_kind in kinds.items())


def values(kind: str, mapping: Mapping[str, Any]) -> Iterator[tuple[str, Item]]:
    """Yield the items for a config or a summary, one for each value that W&B stores, at any depth.

    W&B drops nulls and empty objects.
    """
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from values(f"{kind}.{key}", value)
        elif value is not None:
            yield f"{kind}.{key}", _fingerprint_if_json(value)


def texts(**given: object) -> Iterator[tuple[str, Item]]:
    """Yield the items for those arguments that are texts, such as a run's notes."""
    for name, text in given.items():
        if isinstance(text, str) and text.strip():
            yield name.replace("_", " "), fingerprint(text.strip())


def tagged(tags: Iterable[object]) -> Iterator[tuple[str, Item]]:
    """Yield the items for a run's tags."""
    return ((f"tag {tag}", None) for tag in tags)


def artifact(name: str, artifact_id: str, size: int | None) -> tuple[str, Item]:
    """Return the item for an artifact that a run uses or logs, by the id that W&B gave it."""
    return f"artifact {name}@{artifact_id}", size


def fingerprint(value: object) -> str:
    """Return a short digest that is equal for equal JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint_if_json(value: object) -> str | None:
    """Return the value's fingerprint; None if it is no plain JSON, so that the SDK makes something else of it."""
    try:
        return fingerprint(_stored(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _named(kind: str, lacks: Sequence[Lack]) -> str:
    more = len(lacks) - ITEMS_NAMED
    return ", ".join(map(str, lacks[:ITEMS_NAMED])) + (f" and {more} more ({kind})" if more > 0 else "")


def _kind(item: str) -> str:
    return LOG if item == LOG else item.partition(" ")[0].partition(".")[0]


def _stored(value: object) -> object:
    """Return a JSON value as W&B stores it: 1.0 is the same as 1, and nulls in objects are dropped.

    Raises:
        TypeError, ValueError, OverflowError: The value is not plain JSON, or not valid Unicode.
    """
    match value:
        case None | bool():
            return value
        case int() | float():
            if not math.isfinite(number := float(value)):
                raise ValueError(value)
            return number + 0.0  # -0.0 is the same as 0
        case str():
            value.encode()
            return value
        case dict():
            below = {str(key): _stored(one) for key, one in value.items()}
            return {key: one for key, one in below.items() if one not in (None, {})}
        case list() | tuple():
            return [_stored(one) for one in value]
        case _:
            raise TypeError(type(value))
