"""The live region as a terminal shows it: in its place, nothing above it touched, gone in the end."""

from __future__ import annotations

import io
import itertools
import time
from typing import TYPE_CHECKING

import pyte
from rich.console import Console
from rich.text import Text

from ft_sync.cli.live import REDRAWS_A_SECOND, Live, Region

if TYPE_CHECKING:
    from collections.abc import Sequence


class Terminal:
    """A terminal in memory, and the console that writes to it."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=1000, ratio=0.5)
        self._stream = pyte.Stream(self._screen)
        self._written = io.StringIO()
        self.writes: list[str] = []
        self.console = Console(
            file=self._written, force_terminal=True, width=columns, height=lines, legacy_windows=False, _environ={}
        )

    def show(self) -> list[str]:
        """Everything that is to be seen, the history with it."""
        text, self._written = self._written.getvalue(), io.StringIO()
        self.console.file = self._written
        self._stream.feed(text.replace("\n", "\r\n"))
        history = ["".join(char.data for _, char in sorted(line.items())) for line in self._screen.history.top]
        return [line.rstrip() for line in [*history, *self._screen.display] if line.strip()]


def texts(*lines: str) -> list[Text]:
    return [Text(line) for line in lines]


def test_what_is_drawn_takes_the_place_of_what_was_drawn() -> None:
    terminal = Terminal(40, 10)
    region = Region(terminal.console)
    terminal.console.print("before")
    region.draw(texts("one", "two", "three"))
    region.draw(texts("ONE", "TWO"))
    assert terminal.show() == ["before", "ONE", "TWO"]


def test_what_is_said_stays_above() -> None:
    terminal = Terminal(40, 5)
    region = Region(terminal.console)
    for number in range(20):
        region.draw(texts("total", f"row {number}"), texts(f"note {number}"))
    assert terminal.show() == [*(f"note {number}" for number in range(20)), "total", "row 19"]


def test_a_long_note_is_broken_and_whole() -> None:
    terminal = Terminal(20, 10)
    region = Region(terminal.console)
    region.draw(texts("row"))
    region.draw(texts("row"), texts("a_note_of_more_than_twenty_characters"))
    assert "".join(terminal.show()) == "a_note_of_more_than_twenty_charactersrow"


def test_a_terminal_that_became_narrower_has_broken_the_lines_and_they_go_all_the_same() -> None:
    region = Region(Terminal(40, 10).console)
    region.draw(texts("x" * 39, "y" * 10))
    narrow = Terminal(20, 10)
    narrow.console.print("before\n" + "x" * 20 + "\n" + "x" * 19 + "\n" + "y" * 10)
    region.screen = narrow.console
    region.draw(texts("X", "Y"))
    assert narrow.show() == ["before", "X", "Y"]


def test_a_live_display_draws_in_moderation_and_is_gone_in_the_end() -> None:
    terminal = Terminal(40, 10)
    numbers = itertools.count()
    drawn: list[int] = []

    def draw(width: int, height: int) -> Sequence[Text]:
        drawn.append(next(numbers))
        assert (width, height) == (39, 10)
        return texts(f"frame {drawn[-1]}")

    began = time.monotonic()
    with Live(terminal.console, draw) as live:
        for number in range(100):
            with live.lock:
                live.say(Text(f"note {number}"))
        time.sleep(0.3)
    assert 2 <= len(drawn) <= 2 + (time.monotonic() - began) * REDRAWS_A_SECOND
    assert terminal.show() == [f"note {number}" for number in range(100)]


def test_what_is_said_last_is_not_lost() -> None:
    terminal = Terminal(40, 10)
    with Live(terminal.console, lambda _width, _height: texts("row")) as live, live.lock:
        live.say(Text("the last word"))
    assert terminal.show() == ["the last word"]
