"""Handles Ctrl-C and SIGTERM: the first signal ends a command in order, a second one at once."""

import os
import signal
import sys
from types import FrameType

from ft_sync.cli import exits

SHOW_CURSOR = "\x1b[?25h"
"""Terminal code that makes the cursor visible again after a live display."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handle() -> None:
    """Make both signals interrupt the main thread; signals that the parent process set to ignored stay ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _in_order)


def _in_order(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _in_order:
            signal.signal(number, _at_once)
    raise KeyboardInterrupt


def _at_once(_number: int, _frame: FrameType | None) -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), SHOW_CURSOR.encode())
    os._exit(exits.INTERRUPTED)
