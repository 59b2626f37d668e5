"""Lines at the end of a terminal that are drawn anew in their place, and what is said above them and stays."""

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
    """The last lines of a terminal: what is drawn takes the place of what was drawn before, and nothing above moves.

    It is used by one thread at a time.
    """

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Text], above: Sequence[Text] = ()) -> None:
        """Draw the lines, and above them once and for all what is to stay; all in one go, so that nothing flickers."""
        with self.screen:
            self.screen.control(Control(ControlType.CARRIAGE_RETURN, WIPE_LINE, *[UP, WIPE_LINE] * self._rows()))
            for line in above:
                self.screen.print(line, soft_wrap=True)
            for line in lines:
                self.screen.print(line, no_wrap=True, overflow="crop")
        self._widths = [line.cell_len for line in lines]

    def _rows(self) -> int:
        """Return how many rows of the screen the lines take: one that has become narrower has broken them."""
        width = max(1, self.screen.width)
        return sum(max(1, -(-drawn // width)) for drawn in self._widths)


class Live:
    """Draws a region again and again, from a thread of its own, until it is left; then the region is gone.

    Attributes:
        lock: Held while it draws; to be held by whoever changes what is drawn.
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
        """Have a line appear above the region, to stay there."""
        self._said.append(line)

    def _go_on(self) -> None:
        while True:
            with self.lock:
                screen = self._region.screen
                # A line as wide as the screen makes some terminals begin another.
                self._region.draw(self._draw(screen.width - 1, screen.height), self._news())
            if self._over.wait(1 / REDRAWS_A_SECOND):
                return

    def _news(self) -> list[Text]:
        said, self._said = self._said, []
        return said
