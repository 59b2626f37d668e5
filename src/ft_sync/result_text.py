"""Result-file bytes -> text -> cells line by line, also of a file that is damaged or cut off; performs no I/O."""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from ft_sync.errors import BadData
from ft_sync.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_CELL = 1_000
"""Maximum number of lines in a quoted cell; a quote that is not closed by then is read as plain text."""

UNFINISHED = (".", "e", "E", "+", "-")
"""Last characters that show that a number was truncated."""

_BOM = b"\xef\xbb\xbf"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
LONGEST_WORD = 60
"""Bytes; a first line that is longer and has no comma is not the header of a CSV file."""


def decode(content: bytes) -> str:
    r"""Return a result file's text, its lines ending in ``\n``.

    OpenAI has served these files base64-encoded since 2024; older ones and those of other services are plain.

    Raises:
        BadData: The content is not text. Some services list the model's weights as a result file.
    """
    if (unpacked := _unpacked(content)) is not None:
        text = _as_text(unpacked, errors="strict")
        if text is not None and ("," in text or "\n" in text):
            return text
        if len(content.split(maxsplit=1)[0]) > LONGEST_WORD:
            raise BadData("it is binary, not a table of metrics")
    text = _as_text(content, errors="replace")
    if text is None:
        raise BadData("it is binary, not a table of metrics")
    return text


def without_keys(content: bytes) -> bytes:
    """Return a result file whose text, as `decode` reads it, holds no key; one that holds none is the same object.

    In base64 the keys are taken out of what it encodes, since a mask among its digits would make it unreadable, and
    since `decode` joins lines of any length.
    """
    unpacked: Any = _unpacked(content)
    clean = redacted(unpacked)
    # The rest is for a file that only looks like base64, such as one that is nothing but a key.
    rest: bytes = redacted(content if clean is unpacked else base64.b64encode(clean))
    return rest


def _unpacked(content: bytes) -> bytes | None:
    """Decode a file in base64, even if padding is missing or the end was cut off; None if it is not in base64."""
    packed = b"".join(content.removeprefix(_BOM).split())
    if not _BASE64.fullmatch(packed):
        return None
    symbols = packed.rstrip(b"=")
    if len(symbols) % 4 == 1:  # a lone symbol is less than a byte
        symbols = symbols[:-1]
    return binascii.a2b_base64(symbols + b"=" * (-len(symbols) % 4))


def _as_text(content: bytes, *, errors: Literal["strict", "replace"]) -> str | None:
    try:
        # Without final=True, because a file may be cut off in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8-sig")(errors).decode(content)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (1-based line number, cells) for each line that is not blank."""
    held: tuple[int, list[str]] | None = None
    width = 0
    for line, cells in _records(text):
        if len(cells) > 1 or any(map(str.strip, cells)):
            if held:
                yield held
            held, width = (line, cells), width or len(cells)
    if held is None:
        return
    if not text.endswith("\n") and (len(held[1]) < width or held[1][-1].endswith(UNFINISHED)):
        held[1].pop()  # the file was cut in this cell: its 0.1 may have been 0.173
    yield held


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (1-based number of the first line, cells) for each CSV record.

    A quoted cell may span several lines. A quote that is never closed is plain text, so it spoils no other line.
    """
    lines = (found[0] for found in _LINE.finditer(text))
    ahead: list[str] = []
    number, width = 1, 0
    while line := ahead.pop(0) if ahead else next(lines, ""):
        cells, more = _spanning(line, ahead, lines, width) or (_cells(line), 0)
        yield number, cells
        del ahead[:more]
        number, width = number + 1 + more, width or len(cells)


def _cells(line: str) -> list[str]:
    """Split a record of one line into cells."""
    plain = line.removesuffix("\n").split(",")
    if '"' not in line:
        return plain
    try:
        (cells,) = csv.reader([line])
    except csv.Error:  # such as a cell of more than 128 KiB
        return plain
    return plain if cells[-1].endswith("\n") else cells  # a newline in the last cell: its quote is not closed


def _spanning(line: str, ahead: list[str], lines: Iterator[str], width: int) -> tuple[list[str], int] | None:
    """Read a record that spans several lines; return its cells and how many further lines it takes, or None.

    Args:
        line: The first line of the record.
        ahead: Buffer of lines already read ahead; extended as needed.
        lines: The lines after those in `ahead`.
        width: Expected number of cells; 0 for the first record.
    """
    record, quotes = line, line.count('"')
    more = 0
    while quotes % 2:
        if more == len(ahead):
            ahead += islice(lines, 1)
        if more in {len(ahead), LONGEST_CELL}:
            return None
        record += ahead[more]
        quotes += ahead[more].count('"')
        more += 1
    if not more:
        return None
    try:
        (cells,) = csv.reader([record], strict=True)
    except csv.Error:
        return None
    return (cells, more) if len(cells) == (width or len(cells)) else None
