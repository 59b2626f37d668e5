"""`--jsonl`: an observer that writes each event to stdout as one line of JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ft_sync.cli import documents, render

if TYPE_CHECKING:
    from ft_sync.events import Event


def write(event: Event) -> None:
    """Write an event as a line."""
    render.line(name(type(event)), documents.of_event(event))


def name(event: type[Event]) -> str:
    """Return the journal's name for an event class: `job_archived` for `JobArchived`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()
