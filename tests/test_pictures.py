"""The pictures of the README show the program as it is; `poe pictures` renews them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.pictures import FOLDER, of_a_listing, of_a_sync

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

LARGEST = 40_000
"""Bytes of a picture."""


@pytest.mark.parametrize("made", [of_a_listing, of_a_sync])
def test_pictures_are_not_stale(made: Callable[[], dict[str, str]]) -> None:
    for name, picture in made().items():
        kept = (FOLDER / name).read_text(encoding="utf-8")
        assert picture == kept, f"docs/pictures/{name} is stale: `poe pictures` renews it"


def test_pictures_are_small_and_name_no_machine() -> None:
    for path in FOLDER.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert len(text.encode()) <= LARGEST
        assert not [
            word for word in ("127.0.0.1", "localhost", "/tmp", "/home", 'url("http', "url(http") if word in text
        ]
