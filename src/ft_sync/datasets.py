"""JSONL training files -> format + table rows, one line in memory at a time; no I/O but for reading the given path."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Cell: TypeAlias = str | int

TABLE_ROWS = 10_000
"""Rows after which W&B truncates a run's table."""

LOOKED_AT = 100
"""Number of examples whose most common format becomes the file's, so that one odd example does not decide it."""

LINES_NAMED = 20
"""Maximum number of broken lines that are listed by number."""

SHOWN_OF_A_URL = 80
"""Maximum length of a URL in a cell, in characters: a data URI holds a whole image."""

CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions", "function_call"})

INSTRUCTING = ("system", "developer")
"""Roles of instructions to the model; a tuple, because a role in a file may be any JSON value, hashable or not."""


class DatasetFormat(StrEnum):
    """The kind of examples in a file."""

    CHAT = "chat"
    PREFERENCE = "preference"
    REINFORCEMENT = "reinforcement"
    COMPLETION = "completion"
    OTHER = "other"


COLUMNS: Mapping[DatasetFormat, tuple[str, ...]] = {
    DatasetFormat.CHAT: ("index", "system", "user", "assistant", "conversation", "turns", "tools", "raw"),
    DatasetFormat.PREFERENCE: ("index", "prompt", "preferred", "non_preferred", "raw"),
    DatasetFormat.REINFORCEMENT: ("index", "system", "prompt", "reference", "raw"),
    DatasetFormat.COMPLETION: ("index", "prompt", "completion", "raw"),
    DatasetFormat.OTHER: ("index", "raw"),
}


NUMBERS = frozenset({"index", "turns"})
"""The columns that hold numbers; all others hold text."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """Counts of a training file.

    Attributes:
        examples: Number of readable lines in the whole file.
        rows: Number of examples in the table.
        broken_lines: 1-based numbers of the first unreadable lines.
        broken: Total number of unreadable lines.
    """

    format: DatasetFormat
    examples: int
    rows: int
    broken_lines: tuple[int, ...] = ()
    broken: int = 0

    @property
    def truncated(self) -> bool:
        """Whether the file holds more examples than the table."""
        return self.rows < self.examples


@dataclass
class Dataset:
    """A training file being read: exhaust `rows()` first, then read `summary`."""

    path: Path
    format: DatasetFormat
    limit: int
    _examples: int = field(default=0, init=False)
    _broken_lines: list[int] = field(default_factory=list, init=False)
    _broken: int = field(default=0, init=False)

    @property
    def columns(self) -> dict[str, type]:
        """The table's column names and their types, which depend on the format alone."""
        return {name: int if name in NUMBERS else str for name in COLUMNS[self.format]}

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Yield one row per example, at most `limit`; continue to the end of the file to count all examples."""
        self._examples = self._broken = 0
        self._broken_lines.clear()
        for number, line in _lines(self.path):
            example = _example(line)
            if example is None:
                self._broken += 1
                if len(self._broken_lines) < LINES_NAMED:
                    self._broken_lines.append(number)
                continue
            if self._examples < self.limit:
                yield (self._examples, *map(_encodable, _cells(self.format, example)), line.decode())
            self._examples += 1

    @property
    def summary(self) -> DatasetSummary:
        """The counts of the last complete iteration of `rows()`."""
        rows = min(self._examples, self.limit)
        return DatasetSummary(self.format, self._examples, rows, tuple(self._broken_lines), self._broken)


def read(path: Path, *, limit: int = TABLE_ROWS) -> Dataset:
    """Open a training file and detect its format: the most common one among the first readable examples."""
    examples = (example for _, line in _lines(path) if (example := _example(line)) is not None)
    votes = Counter(_format(example) for example in islice(examples, LOOKED_AT))
    return Dataset(path, max(votes, key=votes.__getitem__, default=DatasetFormat.OTHER), limit)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based number, line) for lines that are not blank; in JSONL only a newline byte ends a line."""
    with path.open("rb") as content:
        for number, line in enumerate(content, start=1):
            # In any line, not only the first: files are concatenated from others, each with its byte order mark.
            if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield number, text


def _example(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _format(example: Mapping[str, Any]) -> DatasetFormat:
    if "preferred_output" in example and "non_preferred_output" in example:
        return DatasetFormat.PREFERENCE
    if isinstance(messages := example.get("messages"), list):
        last = _messages(messages)[-1:]
        answered = bool(last) and last[0].get("role") == "assistant"
        return DatasetFormat.CHAT if answered else DatasetFormat.REINFORCEMENT
    if "prompt" in example and "completion" in example:
        return DatasetFormat.COMPLETION
    return DatasetFormat.OTHER


def _cells(kind: DatasetFormat, example: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Return a row's cells between the `index` and `raw` columns."""
    match kind:
        case DatasetFormat.CHAT:
            messages = _messages(example.get("messages"))
            return (
                _instructions(messages),
                _last(messages, "user"),
                _last(messages, "assistant"),
                _conversation(messages),
                len(messages),
                _tool_names(example),
            )
        case DatasetFormat.PREFERENCE:
            given = example.get("input")
            prompt = _messages(given.get("messages")) if isinstance(given, dict) else []
            return (
                _conversation(prompt),
                _answer(example.get("preferred_output")),
                _answer(example.get("non_preferred_output")),
            )
        case DatasetFormat.REINFORCEMENT:
            messages = _messages(example.get("messages"))
            asked = [one for one in messages if one.get("role") not in INSTRUCTING]
            reference = {key: value for key, value in example.items() if key not in CHAT_KEYS}
            return (_instructions(messages), _conversation(asked), _json(reference) if reference else "")
        case DatasetFormat.COMPLETION:
            return _text(example.get("prompt")), _text(example.get("completion"))
        case _:
            return ()


def _encodable(cell: Cell) -> Cell:
    """Replace lone surrogates, which JSON can express but UTF-8 cannot encode."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell


def _messages(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _instructions(messages: list[dict[str, Any]]) -> str:
    return "\n\n".join(_said(one) for one in messages if one.get("role") in INSTRUCTING)


def _last(messages: list[dict[str, Any]], role: str) -> str:
    return next((_said(one) for one in reversed(messages) if one.get("role") == role), "")


def _answer(value: object) -> str:
    """Return a preferred or non-preferred answer as text, even if it is not a list of messages."""
    messages = _messages([value] if isinstance(value, dict) else value)
    return _conversation(messages) if messages else _text(value)


def _conversation(messages: list[dict[str, Any]]) -> str:
    called = {_text(call.get("id")): _name(call) for one in messages for call in _messages(one.get("tool_calls"))}
    return "\n\n".join(f"{_speaker(one, called)}: {_said(one)}" for one in messages)


def _name(call: Mapping[str, Any]) -> str:
    function = call.get("function")
    return _text(function.get("name")) if isinstance(function, dict) else ""


def _speaker(message: Mapping[str, Any], called: Mapping[str, str]) -> str:
    """Return the speaker: the role and, if known, a name; for a tool's answer the name of the called function."""
    speaker = _text(message.get("role")) or "?"
    call = _text(message.get("tool_call_id"))
    if name := _text(message.get("name")) or called.get(call) or call:
        speaker += f" {name}"
    return f"{speaker} (weight 0)" if message.get("weight") == 0 else speaker


def _said(message: Mapping[str, Any]) -> str:
    """Return a message's text, refusal and tool calls in readable form."""
    calls = [call.get("function") for call in _messages(message.get("tool_calls"))]
    calls.append(message.get("function_call"))  # the predecessor of tool_calls
    refusal = _text(message.get("refusal"))
    said = [_text(message.get("content")), f"[refusal: {refusal}]" if refusal else ""]
    said += [f"→ {_text(call.get('name'))}({_text(call.get('arguments'))})" for call in calls if isinstance(call, dict)]
    return "\n".join(filter(None, said))


def _tool_names(example: Mapping[str, Any]) -> str:
    tools = [tool.get("function") for tool in _messages(example.get("tools"))] + _messages(example.get("functions"))
    return ", ".join(filter(None, (_text(tool.get("name")) for tool in tools if isinstance(tool, dict))))


def _text(value: object) -> str:
    """Return a message's content as text, be it a string, a list of parts, None or any other JSON value."""
    match value:
        case None:
            return ""
        case str():
            return value
        case list():
            return "\n".join(_part(part) for part in value)
        case _:
            return _json(value)


def _part(part: object) -> str:
    match part:
        case str(text) | {"text": str(text)}:
            return text
        case {"refusal": str(text)}:
            return f"[refusal: {text}]"
        case {"image_url": {"url": str(url)}} | {"image_url": str(url)}:
            return f"[image: {url if len(url) <= SHOWN_OF_A_URL else url[:SHOWN_OF_A_URL] + '…'}]"
        case _:
            return _json(part)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:  # json.loads() managed it with a little more stack left
        return "[nested too deeply to show]"
