"""Writes values to stdout and stderr as text, escaping control characters, markup from services, and keys."""

from __future__ import annotations

import json
import os
import sys
import traceback
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ft_sync.redaction import redact, redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import TextIO

    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    from ft_sync.models import Failed

SCHEMA = 1
"""Version of the JSON output; incremented when a field changes its meaning, not when fields are added."""

NOTHING = "-"
"""Placeholder for an absent value, so that columns keep their positions."""

NUMBERS = frozenset({"rows", "tokens"})
"""Columns that are right-aligned."""

GAP = 2
FOLDED_WIDTH, LEAST_WIDTH = 20, 10
"""Minimum width of a column that wraps, normally and when even ids must be shortened."""
SHORT_ID = 16
"""Minimum number of characters of a shortened id."""

MINUTE, HOUR, DAY = 60, 3600, 86400


def safe(text: object) -> str:
    r"""Return text that does nothing to a terminal and tells no key: control characters are shown as `\x1b`.

    Besides the control characters proper these are the invisible ones that reorder what is read (bidi overrides) or
    end a line, and lone surrogates, which cannot be encoded.
    """
    return "".join(
        char if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else _escaped(char)
        for char in redact(str(text))
    )


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004


def emit(text: str) -> bool:
    """Write data to stdout and flush it; a closed pipe (`| head`) is not an error.

    Returns:
        False if the reader has closed the pipe.
    """
    return _write(sys.stdout, text)


def _write(stream: TextIO | None, text: str) -> bool:
    if stream is None:  # closed by the parent process
        return False
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # Discard the buffer: flushing it again at exit would fail, too.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
        return False
    return True


def lines(rows: Iterable[Sequence[object]]) -> None:
    """Write one tab-separated line per row, for other programs."""
    emit("".join("\t".join(NOTHING if cell is None else safe(cell) for cell in row) + "\n" for row in rows))


def document(content: Mapping[str, Any], *, as_line: bool = False) -> None:
    """Write a JSON document, with `as_line` as the last line of a journal.

    Everything but ASCII is escaped, so the output is safe in a terminal, too.
    """
    if as_line:
        line("error" if "error" in content else "report", content)
    else:
        emit(json.dumps({"schema": SCHEMA, **redacted({**content})}, indent=2) + "\n")


def line(event: str, content: Mapping[str, Any]) -> bool:
    """Write one line of a journal, a JSON object with a timestamp; return False if the reader has closed the pipe."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return emit(json.dumps({"schema": SCHEMA, "event": event, "time": now, **redacted({**content})}) + "\n")


def tell(text: str = "") -> None:
    """Print a line to stderr for the user; errors in writing it are ignored."""
    with suppress(OSError):
        _write(sys.stderr, f"{safe(text)}\n")


def tell_failures(failures: Iterable[Failed]) -> None:
    """Print which jobs failed and why, if that was not shown before: `--quiet` hides progress, not errors."""
    for failed in failures:
        tell(f"{failed.job_id}: failed: {failed.error.message}")


def trace(error: BaseException) -> None:
    """Print an error's traceback, without the values of variables."""
    for part in traceback.format_exception(error):
        for line in part.rstrip("\n").split("\n"):
            tell(line)


class Linked(NamedTuple):
    """A table cell that is a hyperlink, in terminals that support it."""

    text: object
    url: str | None


def table(  # noqa: PLR0913 - how each kind of column shrinks
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    folds: int,
    optional: Sequence[int] = (),
    shortens: int | None = None,
    color: bool = True,
) -> list[str]:
    """Write a table for people; cells are text, never markup.

    Args:
        headers: One per column; may be empty strings.
        rows: One cell per column; a cell may be `Linked`.
        folds: The column that wraps in a narrow terminal.
        optional: Columns to omit, in this order, if wrapping is not enough.
        shortens: The column of ids to shorten in the middle if that is still not enough; no other column is cut.
        color: Whether to use colours.

    Returns:
        The headers of the columns that were omitted or shortened.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - people only: `--help` and pipes do without
    from rich.table import Table  # noqa: PLC0415

    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [
        max(cell_len(text) for text in (header, *(row[number].plain for row in texts)))
        for number, header in enumerate(headers)
    ]
    widths[folds] = min(widths[folds], FOLDED_WIDTH)
    screen = console(sys.stdout, color=color)
    shown, cut = list(range(len(headers))), []
    for number in optional:
        if sum(widths[column] + GAP for column in shown) > screen.width:
            shown.remove(number)
            cut.append(headers[number])
    beyond = sum(widths[column] + GAP for column in shown) - screen.width
    if shortens is not None and beyond > 0:
        width = max(SHORT_ID, widths[shortens] - beyond)
        mark = "…" if screen.encoding.startswith("utf") else "~"
        names = shortened((row[shortens].plain for row in texts), width, mark)
        for row in texts:
            row[shortens] = _cell(names[row[shortens].plain])
        widths[shortens] = max([len(headers[shortens]), *map(cell_len, names.values())])
        cut.append(f"parts of {headers[shortens]} ids")
        beyond = sum(widths[column] + GAP for column in shown) - screen.width
        widths[folds] = max(LEAST_WIDTH, widths[folds] - max(0, beyond))
    screen.width = max(screen.width, sum(widths[column] + GAP for column in shown))
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=any(headers), header_style="bold")
    for number in shown:
        justify: Literal["left", "right"] = "right" if headers[number] in NUMBERS else "left"
        grid.add_column(headers[number], overflow="fold", no_wrap=number != folds, justify=justify)
    for row in texts:
        grid.add_row(*(row[number] for number in shown))
    with screen.capture() as captured:
        screen.print(grid)
    emit("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    return cut


def _cell(cell: object) -> Text:
    from rich.style import Style  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    text, url = cell if isinstance(cell, Linked) else (cell, cell)
    return Text(NOTHING if text is None else safe(text), Style.parse(style_of(text)) + linked(url))


def console(stream: TextIO, *, color: bool) -> Console:
    """Return a Rich console without markup, emoji codes and highlighting."""
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(file=stream, markup=False, emoji=False, highlight=False, no_color=None if color else True)


def is_screen(stream: TextIO | None) -> bool:
    """Whether this stream is a terminal."""
    return stream is not None and stream.isatty()


def place(url: str | None) -> str | None:
    """Return a URL unchanged, and a path below the current folder as a relative one."""
    if url is None or not (path := Path(url)).is_relative_to(Path.cwd()):
        return url
    return f"./{path.relative_to(Path.cwd())}"


def moment(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the second."""
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def day_and_time(time: datetime | None) -> str | None:
    """Return a time in the local time zone, for people."""
    return None if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def seconds(span: timedelta | None) -> int | None:
    """Return a time span in whole seconds."""
    return None if span is None else round(span.total_seconds())


def span(length: float | None) -> str | None:
    """Return a number of seconds in its two largest units, for people."""
    if length is None:
        return None
    whole = round(length)
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02}s"
    if whole < DAY:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02}m"
    return f"{whole // DAY}d {whole % DAY // HOUR}h"


def figures(metrics: Mapping[str, float]) -> str:
    """Return metrics with four significant digits each, for people."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


GOOD, BAD, BUSY, NOTICE, QUIET = "green", "red", "cyan", "yellow", "dim"
"""The only styles, each with one meaning; the styled word itself always says the same."""

STYLES = {
    "synced": GOOD,
    "identical": GOOD,
    "succeeded": GOOD,
    "complete": GOOD,
    "archived": GOOD,
    "differs": BAD,
    "missing": BAD,
    "failed": BAD,
    "unreadable": BAD,
    "lost": BAD,
    "running": BUSY,
    "waiting": BUSY,
    "wait": BUSY,
    "cancelled": NOTICE,
    "incomplete": NOTICE,
    "notes": NOTICE,
    "skipped": QUIET,
    "skip": QUIET,
    "absent": QUIET,
    "unknown": QUIET,
}
"""The style of each word that has one, wherever it is shown."""


def style_of(cell: object) -> str:
    """Return the style of a word in `STYLES`; no style for anything else."""
    return STYLES.get(cell, "") if isinstance(cell, str) else ""


def linked(url: object) -> Style:
    """Return the hyperlink style for a URL; no style for a folder."""
    from rich.style import Style  # noqa: PLC0415 - as above

    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Style(link=safe(url))
    return Style()


def shortened(ids: Iterable[str], width: int, mark: str = "…") -> dict[str, str]:
    """Shorten ids in the middle to `width` characters such that they stay distinct; if impossible, keep them whole."""
    whole = list(dict.fromkeys(ids))
    for head in range(max(0, width - 1) // 2, 0, -1):
        tail = width - 1 - head
        short = {one: one if len(one) <= width else f"{one[:head]}{mark}{one[-tail:]}" for one in whole}
        if len(set(short.values())) == len(whole):
            return short
    return {one: one for one in whole}
