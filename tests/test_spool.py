from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ft_sync.spool import FEW, Many, Numbers, each, turned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.models import JsonObject


def served(number: int) -> Iterator[JsonObject]:
    """Newest first."""
    return ({"no": no, "text": "é\ud800"} for no in range(number, 0, -1))


def open_files(folder: Path) -> int:
    """How many of the files in a folder are open here, with or without a name."""
    number = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread has closed it
            number += file.readlink().is_relative_to(folder)
    return number


@pytest.mark.parametrize("number", [0, 1, FEW - 1, FEW, FEW + 1, 3 * FEW, 3 * FEW + 7])
def test_what_is_served_newest_first_comes_oldest_first_as_often_as_it_is_asked_for(number: int) -> None:
    things = turned(served(number), lambda raw: (raw["no"], raw["text"]))
    expected = [(no, "é\ud800") for no in range(1, number + 1)]
    assert [len(things), list(things), list(things)] == [number, expected, expected]


def test_few_are_held_and_many_are_read_again() -> None:
    read: list[int] = []
    few, many = (turned(served(number), lambda raw: read.append(raw["no"])) for number in (2, FEW))
    assert read == [2, 1][::-1]
    assert (len(few), len(many)) == (2, FEW)
    next(iter(many))
    assert len(read) == 3


def test_what_is_made_of_many_is_made_when_it_is_gone_through() -> None:
    assert each(str, (1, 2)) == ("1", "2")
    many = each(str, turned(served(FEW), lambda raw: raw["no"]))
    assert isinstance(many, Many)
    assert list(many)[:2] == ["1", "2"]
    assert "2" in many
    assert "0" not in many


def test_the_file_of_many_has_no_name_and_goes_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    many = turned(served(FEW), lambda raw: raw["no"])
    assert list(tmp_path.iterdir()) == []
    assert open_files(tmp_path) == 1
    del many
    gc.collect()
    assert open_files(tmp_path) == 0


def test_numbers_come_by_row_and_name_in_the_order_of_the_sources() -> None:
    numbers = Numbers()
    numbers.add(1, [(2, {"b": 0.5, "a": -0.0}, None), (1, {"a": 1e308}, None)])
    numbers.add(2, [(2, {"a": 5e-324, "c": 3.0}, None)])
    assert list(numbers.rows()) == [(1, [("a", 1e308)]), (2, [("b", 0.5), ("a", -0.0), ("a", 5e-324), ("c", 3.0)])]
    assert str(next(value for _, cells in numbers.rows() for name, value in cells if value == 0)) == "-0.0"
    assert numbers.count() == (2, 2)


def test_of_several_numbers_of_a_source_the_latest_stands_and_then_the_last() -> None:
    numbers = Numbers()
    numbers.add(1, [(1, {"a": 1.0}, 9.0), (1, {"a": 2.0}, 8.0), (1, {"b": 3.0}, 8.0)])
    numbers.add(2, [(5, {"a": 1.0}, None), (5, {"a": 2.0}, None)])
    assert list(numbers.rows()) == [(1, [("a", 1.0), ("b", 3.0)]), (5, [("a", 2.0)])]
    assert list(numbers.times()) == [(1, 9.0)]


def test_nothing_is_no_row() -> None:
    numbers = Numbers()
    numbers.add(1, [(3, {}, 4.0)])
    assert (list(numbers.rows()), numbers.count(), list(numbers.times())) == ([], (0, 0), [(3, 4.0)])
