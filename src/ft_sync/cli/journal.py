"""`--jsonl`: an observer that writes what happens to stdout, one JSON object a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ft_sync.cli import documents, render

if TYPE_CHECKING:
    from ft_sync.events import Event


def write(event: Event) -> None:
    """Write the line of an event."""
    render.line(name(type(event)), documents.of_event(event))


def name(event: type[Event]) -> str:
    """Return the name of a kind of event in a journal: `job_archived` for `JobArchived`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()
