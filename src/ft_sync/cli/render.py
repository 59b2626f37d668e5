"""How values become text on stdout and stderr: safe, in one place, without markup of others and keys of ours."""

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
"""Raised when a field of a document or a line changes its meaning; new fields may appear at any time."""

NOTHING = "-"
"""What stands for an absent value, so that columns keep their places."""

NUMBERS = frozenset({"rows", "tokens"})
"""Columns that are read from the right."""

GAP = 2
FOLDED_WIDTH, LEAST_WIDTH = 20, 10
"""Of a column that breaks into lines, and of the same where not even ids are whole."""
SHORT_ID = 16
"""Characters of an id that are always shown."""

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
    """Write data to stdout, at once; a reader that has gone (`| head`) is nobody to tell, and no failure.

    Returns:
        Whether there was a reader.
    """
    return _write(sys.stdout, text)


def _write(stream: TextIO | None, text: str) -> bool:
    if stream is None:  # closed by whoever started us
        return False
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # What is still buffered would fail again when the interpreter flushes it at exit.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
        return False
    return True


def lines(rows: Iterable[Sequence[object]]) -> None:
    """Write one line a row, tab separated, for other programs."""
    emit("".join("\t".join(NOTHING if cell is None else safe(cell) for cell in row) + "\n" for row in rows))


def document(content: Mapping[str, Any], *, as_line: bool = False) -> None:
    """Write one JSON document, or the same as the last line of a journal.

    All but ASCII is escaped, so it is safe in a terminal, too.
    """
    if as_line:
        line("error" if "error" in content else "report", content)
    else:
        emit(json.dumps({"schema": SCHEMA, **redacted({**content})}, indent=2) + "\n")


def line(event: str, content: Mapping[str, Any]) -> bool:
    """Write one line of a journal: a JSON object, which tells when it was written; return whether somebody reads it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return emit(json.dumps({"schema": SCHEMA, "event": event, "time": now, **redacted({**content})}) + "\n")


def tell(text: str = "") -> None:
    """Say something to the person who watches, on stderr, in one line; that it cannot be said stops no work."""
    with suppress(OSError):
        _write(sys.stderr, f"{safe(text)}\n")


def tell_failures(failures: Iterable[Failed]) -> None:
    """Say which jobs failed, and why, where nothing said so while they did: quiet is about progress, not errors."""
    for failed in failures:
        tell(f"{failed.job_id}: failed: {failed.error.message}")


def trace(error: BaseException) -> None:
    """Show where an error came from; the values of variables are not part of it."""
    for part in traceback.format_exception(error):
        for line in part.rstrip("\n").split("\n"):
            tell(line)


class Linked(NamedTuple):
    """A cell of a table that leads somewhere, in a terminal that can do that."""

    text: object
    url: str | None


def table(  # noqa: PLR0913 - what gives way, and how
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
        headers: One for each column, or empty strings.
        rows: Of as many cells; one may be `Linked`.
        folds: The column that breaks into lines where the terminal is narrow.
        optional: Columns to leave out, the first one first, where even that is not enough.
        shortens: The column of ids that are cut in the middle where that is not enough, either; all others are whole.
        color: Whether colours are wanted.

    Returns:
        The headers of what was left out or cut.
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
    """Return a Rich console that reads nothing as markup, emoji or something to highlight."""
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(file=stream, markup=False, emoji=False, highlight=False, no_color=None if color else True)


def is_screen(stream: TextIO | None) -> bool:
    """Whether somebody looks at this stream in a terminal."""
    return stream is not None and stream.isatty()


def place(url: str | None) -> str | None:
    """Return a URL as it is, and a folder below this one as seen from here."""
    if url is None or not (path := Path(url)).is_relative_to(Path.cwd()):
        return url
    return f"./{path.relative_to(Path.cwd())}"


def moment(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the second."""
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def day_and_time(time: datetime | None) -> str | None:
    """Return a time for people, in their own time zone."""
    return None if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def seconds(span: timedelta | None) -> int | None:
    """Return a span in whole seconds."""
    return None if span is None else round(span.total_seconds())


def span(length: float | None) -> str | None:
    """Return a number of seconds for people, in its two largest units."""
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
    """Return metrics for people, four digits each."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


GOOD, BAD, BUSY, NOTICE, QUIET = "green", "red", "cyan", "yellow", "dim"
"""The only colours, each with one meaning; the word beside it always says the same."""

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
"""What a word means, wherever it is shown."""


def style_of(cell: object) -> str:
    """Return the style of a word that has a meaning; of all else, none."""
    return STYLES.get(cell, "") if isinstance(cell, str) else ""


def linked(url: object) -> Style:
    """Return the style of a text that leads to a URL in a terminal that can do that; of a folder, none."""
    from rich.style import Style  # noqa: PLC0415 - as above

    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Style(link=safe(url))
    return Style()


def shortened(ids: Iterable[str], width: int, mark: str = "…") -> dict[str, str]:
    """Return ids cut in the middle to so many characters, in a place where all of them stay different; else whole."""
    whole = list(dict.fromkeys(ids))
    for head in range(max(0, width - 1) // 2, 0, -1):
        tail = width - 1 - head
        short = {one: one if len(one) <= width else f"{one[:head]}{mark}{one[-tail:]}" for one in whole}
        if len(set(short.values())) == len(whole):
            return short
    return {one: one for one in whole}
