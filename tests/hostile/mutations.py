"""What a service can send instead of what it should: JSON of the samples with any of its values gone or absurd."""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ft_sync.sandbox import SampleJob, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GONE = object()
"""In the place of a value: the key itself is missing."""

JOBS = samples.world(time.time()).jobs


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ABSURD = [
    *(GONE, None, True, 0, -1, 1.5, "", "12", "a/b", "../..", "\n\x00\x1b[31m\u202e", "\ud800", "'\"`$", "é→😀"),
    *("x" * 10_000, 2**31, 2**53 + 1, 2**63, -(2**70), 10**300, 1e300, 1_760_000_000_000),
    *(math.inf, -math.inf, math.nan, nested(50), {"\ud800": "\udc00"}, ["file-1", "file-1"]),
    *([], {}, [[]], [None, 5, {}], {"": ""}, {"a": {"b": 1}}),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


def paths(value: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every value in a JSON object."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in below:
        yield (*above, key)
        yield from paths(one, (*above, key))


def replaced(raw: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The object with one of its values replaced, or without it."""
    changed = copy.deepcopy(raw)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


@st.composite
def mutated(draw: Callable[..., Any], raw: dict[str, Any], keep: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The object with a few of its values gone or absurd, but for what is to be kept."""
    for _ in range(draw(st.integers(1, 5))):
        ways = [path for path in paths(raw) if path[0] not in keep]
        if ways:
            raw = replaced(raw, draw(st.sampled_from(ways)), draw(st.sampled_from(ABSURD) | JSON))
    return raw


@st.composite
def jobs(draw: Callable[..., Any], keep: frozenset[str] = frozenset()) -> SampleJob:
    """A sample job of which everything may be absurd, its events, checkpoints and files included."""
    sample = draw(st.sampled_from(JOBS))
    events = list(sample.events[:8])
    checkpoints = list(sample.checkpoints)
    return SampleJob(
        job=draw(mutated(sample.job, keep)),
        events=draw(st.permutations([draw(mutated(event)) for event in events])),
        checkpoints=[draw(mutated(one)) for one in checkpoints],
        files=sample.files,
    )
