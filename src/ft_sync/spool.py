"""Collections that may not fit in memory: from 1,000 items on they are computed lazily or spooled to disk."""

from __future__ import annotations

import json
import math
import sqlite3
import tempfile
import weakref
from collections.abc import Collection
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ft_sync.errors import on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ft_sync.models import JsonObject

FEW = 1_000
"""Number of items from which on a collection is no longer held in memory."""

TABLES = """
create table number (row, name, source, value, at, primary key (row, name, source)) without rowid;
create table time (row integer primary key, at);
"""
ADD_NUMBER = """
insert into number values (?, ?, ?, ?, ?)
on conflict do update set value = excluded.value, at = excluded.at where excluded.at >= at
"""
ADD_TIME = "insert into time values (?, ?) on conflict do update set at = max(at, excluded.at)"
NUMBERS = "select row, name, value from number order by row, name, source"

Entry: TypeAlias = "tuple[int, Mapping[str, float], float | None]"
"""A row's number, its values by name, and the Unix second at which they were reported; None if unknown."""

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")


class Many(Collection[_Thing]):
    """A sized collection that computes its items anew at each iteration."""

    def __init__(self, number: int, make: Callable[[], Iterator[_Thing]]) -> None:
        self._number = number
        self._make = make

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[_Thing]:
        return self._make()

    def __contains__(self, thing: object) -> bool:
        return any(one == thing for one in self)


def made(number: int, make: Callable[[], Iterator[_Thing]]) -> Collection[_Thing]:
    """Return a tuple of the items that `make()` yields; from 1,000 items on, a `Many` that calls `make()` each time."""
    return tuple(make()) if number < FEW else Many(number, make)


def each(make: Callable[[_Thing], _Made], things: Collection[_Thing]) -> Collection[_Made]:
    """Map `make` over `things`; lazily, at each iteration, if there are 1,000 or more."""
    return made(len(things), lambda: map(make, things))


def turned(newest_first: Iterable[JsonObject], read: Callable[[JsonObject], _Thing]) -> Collection[_Thing]:
    """Reverse a stream of JSON objects to oldest first, parsed by `read`; 1,000 or more are spooled to disk."""
    served = iter(newest_first)
    block = list(islice(served, FEW))
    if len(block) < FEW:
        return tuple(map(read, reversed(block)))
    blocks = _Blocks()
    while block:
        blocks.add(block)
        block = list(islice(served, FEW))
    return Many(len(blocks), lambda: map(read, blocks.backwards()))


class Numbers:
    """A table of numbers by row, name and source, in an anonymous SQLite database that spills to disk as it grows."""

    def __init__(self) -> None:
        # An empty path is a private temporary database, written to disk only beyond a few MB of page cache.
        # Several threads use the connection, but one after the other.
        self._held = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._held.close)
        self._held.executescript(TABLES)
        self._names: dict[str, int] = {}

    def add(self, source: int, entries: Iterable[Entry]) -> None:
        """Add the entries of one source.

        If a source has several numbers for the same row and name, the one with the latest time wins, and among equal
        times the one added last.
        """
        rest = iter(entries)
        while some := list(islice(rest, FEW)):
            with _on_disk():
                self._held.execute("begin")
                self._held.executemany(ADD_NUMBER, self._cells(source, some))
                self._held.executemany(ADD_TIME, ((row, at) for row, _, at in some if at is not None))
                self._held.execute("commit")

    def rows(self) -> Iterator[tuple[int, list[tuple[str, float]]]]:
        """Yield each row, ascending, with its (name, number) pairs; equal names are in the order of the sources."""
        names = list(self._names)
        with _on_disk():
            for row, cells in groupby(self._held.execute(NUMBERS), itemgetter(0)):
                yield row, [(names[name], value) for _, name, value in cells]

    def count(self) -> tuple[int, int]:
        """Return the number of rows and the highest row number."""
        number, last = self._held.execute("select count(distinct row), max(row) from number").fetchone()
        return number, last or 0

    def times(self) -> Iterator[tuple[int, float]]:
        """Yield each row with a known time, ascending, and its latest time."""
        yield from self._held.execute("select row, at from time order by row")

    def _cells(self, source: int, entries: Iterable[Entry]) -> Iterator[tuple[int, int, int, float, float]]:
        for row, numbers, at in entries:
            for name, value in numbers.items():
                named = self._names.setdefault(name, len(self._names))
                yield row, named, source, value, -math.inf if at is None else at


@contextmanager
def _on_disk() -> Iterator[None]:
    """Translate SQLite's errors, such as a full disk, into `DiskError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise on_disk(error) from error


class _Blocks:
    """JSON objects in an anonymous temporary file, deleted with this object or at the end of the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the finalizer
        weakref.finalize(self, self._file.close)
        self._ends = [0]
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, objects: list[JsonObject]) -> None:
        self._file.seek(self._ends[-1])
        self._file.write(b"".join(json.dumps(one).encode() + b"\n" for one in objects))
        self._ends.append(self._file.tell())
        self._number += len(objects)

    def backwards(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self._ends) - 1, 0, -1):
            begin, end = self._ends[number - 1 : number + 1]
            self._file.seek(begin)
            yield from map(json.loads, reversed(self._file.read(end - begin).splitlines()))
