"""Result-file bytes + metric events + checkpoints -> metric rows, without losing a number; no I/O but for spooling.

All three describe the same steps, but each is incomplete: result files lack digits and full validations, events get
deleted, and checkpoints are few. So all of them are read and merged by step.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import TYPE_CHECKING

from ft_sync.errors import BadData
from ft_sync.models import MetricRow
from ft_sync.redaction import redact
from ft_sync.result_text import decode, lines
from ft_sync.spool import Numbers, made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ft_sync.models import Checkpoint, JobEvent, JsonObject, ResultFile
    from ft_sync.spool import Entry

ALIASES = {
    "train_accuracy": "train_mean_token_accuracy",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "scores/train_reward_mean": "train_mean_reward",
    "scores/valid_reward_mean": "full_valid_mean_reward",
    "timing/step/sampling": "sampling_duration",
    "timing/step/training": "training_duration",
    "timing/step/eval": "eval_duration",
    "timing/step/full_iteration": "total_duration",
}
"""Other spellings of a metric, in older files, Azure's documentation and nested events -> its canonical name."""

FILE_DECIMALS = 5
"""Number of decimals in older result files, where a very small loss reads 0.0."""


CUT_DECIMALS = 3
"""Least number of decimals for a number to count as truncated; with fewer it must be the other one rounded."""

MAX_STEP = 2**53
"""Highest step; beyond it, a float can no longer represent every integer."""


_LONGEST_NAME = 60  # characters of a name in one note
_SHOWN = 5  # names or line numbers in one note


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rows, one per step, steps ascending, and notes on what was left out."""

    rows: Collection[MetricRow]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged(Parsed):
    """The merged rows of all sources, with times."""


def parse(text: str) -> Parsed:
    """Read a result file's CSV.

    Numeric columns keep their names (but see `ALIASES`), and numbers their full precision. Rows with the same step are
    merged, the later number winning. Without a usable step column, rows are numbered from 1.
    """
    notes, numbers = _Notes(), Numbers()
    doubtful: list[Entry] = []
    numbers.add(0, _in_file(text, notes, doubtful))
    numbers.add(1, doubtful)
    return Parsed(_metric_rows(numbers), notes.sentences())


def flatten(data: JsonObject) -> dict[str, float]:
    """Return the finite numbers of a metrics event under flat names, in the spelling of Azure's result files.

    Events of supervised jobs are flat already. Those of reinforcement jobs are nested: the path becomes the name, and
    a grader in a list is identified by its type and name, as in ``scores/graders/python/my grader/train_reward_mean``.
    """
    return _flatten(data, "", _Notes())


def last_values(rows: Iterable[MetricRow]) -> dict[str, float]:
    """Return the last value of each metric."""
    return {name: number for row in rows for name, number in row.metrics.items()}


def merge(
    result_files: Iterable[ResultFile],
    events: Iterable[JobEvent],
    checkpoints: Iterable[Checkpoint],
    *,
    started: float | None = None,
    finished: float | None = None,
) -> Merged:
    """Merge all sources into one row per step.

    Precedence: files, then events, then checkpoints, and last any line that may be truncated. A number of a later
    source replaces an earlier one only if it is the same number with more digits. A file that cannot be read is skipped
    with a note.

    Args:
        result_files: As served.
        events: Oldest first. Only metrics events are used; their times become the times of their steps. If several
            have the same step, the latest wins.
        checkpoints: In any order.
        started: Unix second at which the job was created, the lower bound for rows before the first event.
        finished: Unix second at which the job ended, the upper bound for rows after the last event.
    """
    notes, numbers = _Notes(), Numbers()
    source = 0
    doubtful: list[Entry] = []
    for source, file in enumerate(result_files, 1):
        for note in _add_file(numbers, source, file, doubtful):
            notes.add(f"result file {file.id}: {note}")
    numbers.add(source + 1, _in_events(events, notes))
    numbers.add(source + 2, _in_checkpoints(checkpoints, notes))
    numbers.add(source + 3, doubtful)
    return Merged(_metric_rows(numbers, _Times(numbers, started, finished)), notes.sentences())


class _Notes:
    """Collects notes on what was left out: one sentence per kind, with the first few names or line numbers."""

    def __init__(self) -> None:
        self._things: defaultdict[str, dict[object, None]] = defaultdict(dict)

    def add(self, sentence: str, thing: object = None) -> None:
        things = self._things[sentence]
        if thing is not None:
            things[thing] = None

    def sentences(self) -> tuple[str, ...]:
        return tuple(
            f"{sentence}: {self._listed(things)}" if things else sentence for sentence, things in self._things.items()
        )

    @staticmethod
    def _listed(things: Mapping[object, None]) -> str:
        # Names may contain line breaks.
        shown = [
            " ".join(redact(str(thing)).split())[:_LONGEST_NAME] or "(no name)" for thing in islice(things, _SHOWN)
        ]
        more = len(things) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def _add_file(numbers: Numbers, source: int, file: ResultFile, doubtful: list[Entry]) -> tuple[str, ...]:
    """Add the numbers of a result file and return the notes on it."""
    notes = _Notes()
    try:
        numbers.add(source, _in_file(decode(file.content), notes, doubtful))
    except BadData as error:
        return (error.message,)
    return notes.sentences()


def _in_file(text: str, notes: _Notes, doubtful: list[Entry]) -> Iterator[Entry]:
    """Yield the rows of a file; a last line without a newline may be truncated, so its row goes to `doubtful`."""
    last = 0 if text.endswith("\n") else text.count("\n") + 1
    read = lines(text)
    (_, header), first = next(read, (0, None)), next(read, None)
    if header is None or first is None:
        notes.add("it is empty" if header is None else "it has no rows below its header")
        return
    names, step_column = _names(header), _step_column(header, text)
    if step_column is None:
        notes.add("it has no usable column of steps: its rows are numbered from 1")
    for position, (line, cells) in enumerate(chain([first], read), 1):
        if len(cells) < len(names) or any(cells[len(names) :]):
            notes.add("lines with more or fewer cells than the header", line)
        step = position if step_column is None else _step_in(cells, step_column)
        metrics = dict(_numbers(names, cells, step_column, notes))
        if step is None:
            if metrics:
                notes.add("lines left out, without a step or with a negative one", line)
        elif line == last:
            doubtful.append((step, metrics, None))
        else:
            yield step, metrics, None


def _in_events(events: Iterable[JobEvent], notes: _Notes) -> Iterator[Entry]:
    for number, event in enumerate((event for event in events if event.type == "metrics"), 1):
        when = None if event.created_at is None else event.created_at.timestamp()
        yield from _at_step(number, event.data.get("step"), event.data, when, "metrics event", notes)


def _in_checkpoints(checkpoints: Iterable[Checkpoint], notes: _Notes) -> Iterator[Entry]:
    for number, saved in enumerate(checkpoints, 1):
        yield from _at_step(number, saved.step, saved.metrics, None, "checkpoint", notes)


def _at_step(  # noqa: PLR0913, PLR0917 - of an event or a checkpoint
    number: int, served: object, data: JsonObject, when: float | None, what: str, notes: _Notes
) -> Iterator[Entry]:
    """Yield the metrics with their step; add a note if there is no valid step."""
    metrics, step = _flatten(data, what, notes), step_of(served)
    if step is not None:
        yield step, metrics, when
    elif metrics:
        notes.add(f"{what}s left out, without a step or with a negative one", f"no. {number}")


def _names(header: Sequence[str]) -> list[str]:
    """Return the columns' names; duplicates get a numeric suffix, so that no column hides another."""
    served = dict.fromkeys(map(str.strip, header))
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
    names: dict[str, None] = {}
    for name in map(str.strip, header):
        alias = ALIASES.get(name, name)
        chosen = wanted = name if alias in served else alias  # a file with both spellings keeps both
        while chosen in names:
            chosen = f"{wanted}.{next(numbers[wanted])}"
        names[chosen] = None
    return list(names)


def _step_column(header: Sequence[str], text: str) -> int | None:
    """Return the index of a step column that holds at least one valid step, preferring the exact spelling `step`."""
    named = [column for column, name in enumerate(header) if name.strip().casefold() == "step"]
    for column in sorted(named, key=lambda column: header[column].strip() != "step"):
        below = islice(lines(text), 1, None)
        if any(_step_in(cells, column) is not None for _, cells in below):
            return column
    return None


def _step_in(cells: Sequence[str], column: int) -> int | None:
    return step_of(_number(cells[column])) if column < len(cells) else None


def _numbers(
    names: Sequence[str], cells: Sequence[str], step_column: int | None, notes: _Notes
) -> Iterator[tuple[str, float]]:
    """Yield the (name, number) pairs of a line, skip blank cells and add notes on cells that are not numbers."""
    for column, (name, cell) in enumerate(zip(names, cells, strict=False)):
        if column == step_column or not cell.strip():
            continue
        number = _number(cell)
        if number is None:
            notes.add("columns with text, which is left out", name)
        elif not math.isfinite(number):
            notes.add("columns with NaN or infinity, which is left out", name)
        elif not name:
            notes.add("columns left out for want of a name", column + 1)
        else:
            yield name, number


def _number(cell: str) -> float | None:
    """Parse a cell as a float; None if it is not a number."""
    try:
        return None if "_" in cell else float(cell)  # float() accepts 1_000, which is no number in CSV
    except ValueError:
        return None


def _finite(value: object) -> float | None:
    """Return a finite JSON number as a float; None for anything else, including booleans."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has integers of any size
        return None
    return number if math.isfinite(number) else None


def step_of(value: object) -> int | None:
    """Return a JSON number as a step: ``1.0`` is step 1; None for 1.5, -1 and anything else."""
    number = _finite(value)
    return int(number) if number is not None and number.is_integer() and 0 <= number <= MAX_STEP else None


def _flatten(data: JsonObject, what: str, notes: _Notes) -> dict[str, float]:
    """See `flatten`; `what` names the data's origin in the notes on what was left out."""
    found: dict[str, float] = {}
    pending = deque((key, value) for key, value in data.items() if key not in {"step", "total_steps"})
    while pending:
        path, value = pending.popleft()
        if not path:
            notes.add(f"{what}s with something that has no name, which is left out")
        elif (number := _finite(value)) is not None:
            # Breadth first, so that a flat number wins over a nested one of the same name.
            found.setdefault(path, number)
        elif isinstance(value, dict):
            pending.extend((f"{path}/{key}", below) for key, below in value.items())
        elif isinstance(value, list):
            pending.extend(_entries(path, value))
        elif isinstance(value, str):
            notes.add(f"{what}s with text, which is left out", path)
        elif not isinstance(value, bool | None):
            notes.add(f"{what}s with NaN or infinity, which is left out", path)
    return _renamed(found)


def _renamed(found: Mapping[str, float]) -> dict[str, float]:
    """Rename numbers to their canonical names (see `ALIASES`); one that came under both names is kept once."""
    # A path is redacted once more, since a key may have been in its parts.
    flat = {_encodable(redact(path)): number for path, number in found.items() if path not in ALIASES}
    for path, name in ALIASES.items():
        if path not in found:
            continue
        number, other = found[path], flat.get(name)
        if other is None or _refines(number, other):
            flat[name] = number
        elif number != other and not _refines(other, number):
            flat[path] = number  # the two spellings hold different numbers: keep both
    return flat


def _entries(path: str, values: Iterable[object]) -> Iterator[tuple[str, object]]:
    """Yield a list's entries, each named by its own type and name or else by its position."""
    taken = {path}
    for position, value in enumerate(values):
        below, name = value, path
        if isinstance(value, dict):
            name = "/".join((path, *(str(value[key]) for key in ("type", "name") if value.get(key))))
            below = {key: entry for key, entry in value.items() if key not in {"type", "name"}}
        if name in taken:  # two graders may have the same name
            name += f"/{position}"
        taken.add(name)
        yield name, below


def _encodable(name: str) -> str:
    """Replace lone surrogates, which JSON can express but UTF-8 cannot encode."""
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


def _refines(fine: float, coarse: float) -> bool:
    """Whether `coarse` is `fine`, rounded or truncated to fewer decimals."""
    if round(fine, FILE_DECIMALS) == coarse:  # fast path for nearly all numbers
        return fine != coarse
    places = _places(coarse)
    unit = 10.0**-places
    return abs(fine - coarse) < (unit if places >= CUT_DECIMALS else unit / 2) and _places(fine) > places


def _places(number: float) -> int:
    """Return a number's decimals in its shortest decimal representation that parses back to the same float."""
    mantissa, _, exponent = repr(number).partition("e")
    _, _, fraction = mantissa.partition(".")
    decimals = len(fraction.rstrip("0")) - int(exponent or 0)
    return decimals if decimals > 0 else FILE_DECIMALS  # an integer need not be a rounded number


class _Times:
    """The time of each step, as reported or interpolated linearly between its neighbours.

    Args:
        numbers: The rows by step, some with a time in Unix seconds.
        started: Unix second before the first step.
        finished: Unix second of the last step, used if that step has no time of its own.
    """

    def __init__(self, numbers: Numbers, started: float | None, finished: float | None) -> None:
        self._steps, self._seconds = array("q"), array("d")
        for step, second in numbers.times():
            self._steps.append(step)
            self._seconds.append(second)
        if started is not None:
            self._put(0, min([started, *self._seconds]))
        if finished is not None:
            # Never before another known time: a service's clock may be off.
            self._put(numbers.count()[1], max([finished, *self._seconds]))

    def __getitem__(self, step: int) -> float | None:
        """Return the Unix second of a step; None if no time is known at all."""
        if not self._steps:
            return None
        after = min(bisect_left(self._steps, step), len(self._steps) - 1)
        later_step, later = self._steps[after], self._seconds[after]
        if after == 0 or step >= later_step:
            return later
        earlier_step, earlier = self._steps[after - 1], self._seconds[after - 1]
        return earlier + (later - earlier) * (step - earlier_step) / (later_step - earlier_step)

    def _put(self, step: int, second: float) -> None:
        """Set the time of a step, unless it is known already."""
        place = bisect_left(self._steps, step)
        if place == len(self._steps) or self._steps[place] != step:
            self._steps.insert(place, step)
            self._seconds.insert(place, second)


def _metric_rows(numbers: Numbers, times: _Times | None = None) -> Collection[MetricRow]:
    def rows() -> Iterator[MetricRow]:
        for step, cells in numbers.rows():
            yield MetricRow(step, _merged(cells), times[step] if times else None)

    return made(numbers.count()[0], rows)


def _merged(cells: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the first number of each metric, or a later one that is the same number with more digits."""
    row: dict[str, float] = {}
    for name, number in cells:
        if name not in row or _refines(number, row[name]):
            row[name] = number
    return row
