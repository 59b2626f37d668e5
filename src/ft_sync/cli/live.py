"""A live region: the last lines of a terminal, redrawn in place, with permanent lines printed above."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from rich.control import Control
from rich.segment import ControlType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.text import Text

REDRAWS_A_SECOND = 8

WIPE_LINE = (ControlType.ERASE_IN_LINE, 2)
UP = (ControlType.CURSOR_UP, 1)


class Region:
    """The last lines of a terminal; each drawing replaces the previous one, and lines above do not move.

    Not thread-safe.
    """

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Text], above: Sequence[Text] = ()) -> None:
        """Draw the lines and, above them, permanent lines; in a single write, so that nothing flickers."""
        with self.screen:
            self.screen.control(Control(ControlType.CARRIAGE_RETURN, WIPE_LINE, *[UP, WIPE_LINE] * self._rows()))
            for line in above:
                self.screen.print(line, soft_wrap=True)
            for line in lines:
                self.screen.print(line, no_wrap=True, overflow="crop")
        self._widths = [line.cell_len for line in lines]

    def _rows(self) -> int:
        """Return how many screen rows the drawn lines occupy: a terminal that became narrower has wrapped them."""
        width = max(1, self.screen.width)
        return sum(max(1, -(-drawn // width)) for drawn in self._widths)


class Live:
    """A context manager that redraws a region periodically from its own thread, and removes it at the end.

    Attributes:
        lock: Held while drawing; callers must hold it while they change the state that is drawn.
    """

    def __init__(self, screen: Console, draw: Callable[[int, int], Sequence[Text]]) -> None:
        self.lock = threading.Lock()
        self._region = Region(screen)
        self._draw = draw
        self._said: list[Text] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="live display", daemon=True)

    def __enter__(self) -> Self:
        self._region.screen.show_cursor(show=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._region.draw((), self._news())
        self._region.screen.show_cursor()

    def say(self, line: Text) -> None:
        """Print a permanent line above the region."""
        self._said.append(line)

    def _go_on(self) -> None:
        while True:
            with self.lock:
                screen = self._region.screen
                # One column less: some terminals wrap after a line that fills the screen's width.
                self._region.draw(self._draw(screen.width - 1, screen.height), self._news())
            if self._over.wait(1 / REDRAWS_A_SECOND):
                return

    def _news(self) -> list[Text]:
        said, self._said = self._said, []
        return said
