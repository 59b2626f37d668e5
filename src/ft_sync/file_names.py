"""Names that come from a server, as names of files: pure, and the same on every system."""

from __future__ import annotations

import hashlib
import re

LONGEST = 60
"""Characters; of four bytes each they still are a file's name on every system."""

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""What Windows takes for a device, in any folder and with any extension."""


def file_name(served: str) -> str:
    """Return a name as one visible part of a path; its end is kept, where the extension is."""
    # No dot at the front, which would hide it or lead upwards, nor at the end, where Windows drops it.
    name = re.sub(r"[^\w.-]", "_", served)[-LONGEST:].strip(".") or "_"
    return f"_{name}" if DEVICES.match(name) else name


def folder_name(served_id: str) -> str:
    """Return an id as one part of a path; different ids give different ones."""
    name = file_name(served_id)
    return (
        name if name == served_id else f"{name}-{hashlib.sha256(served_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    )
