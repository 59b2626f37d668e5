"""What may be too much for memory: beyond some number it is kept on disk, and read whenever it is gone through."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ft_sync.models import JsonObject

FEW = 1_000
"""Things that are held in memory."""

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")


class Many(Collection[_Thing]):
    """Things that are made anew whenever they are gone through."""

    def __init__(self, number: int, make: Callable[[], Iterator[_Thing]]) -> None:
        self._number = number
        self._make = make

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[_Thing]:
        return self._make()

    def __contains__(self, thing: object) -> bool:
        return any(one == thing for one in self)


def each(make: Callable[[_Thing], _Made], things: Collection[_Thing]) -> Collection[_Made]:
    """Return what is made of each thing, when it is gone through if there are many."""
    made: Many[_Made] = Many(len(things), lambda: map(make, things))
    return tuple(made) if len(made) < FEW else made


def turned(newest_first: Iterable[JsonObject], read: Callable[[JsonObject], _Thing]) -> Collection[_Thing]:
    """Return what is served newest first as read, oldest first."""
    served = iter(newest_first)
    block = list(islice(served, FEW))
    if len(block) < FEW:
        return tuple(map(read, reversed(block)))
    blocks = _Blocks()
    while block:
        blocks.add(block)
        block = list(islice(served, FEW))
    return Many(len(blocks), lambda: map(read, blocks.backwards()))


class _Blocks:
    """JSON objects in a file without a name, which goes with this object, or with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when this object goes
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
