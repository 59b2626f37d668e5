"""Turns names from a server into safe file names, the same on every operating system; pure."""

from __future__ import annotations

import hashlib
import re

LONGEST = 60
"""Maximum length in characters; even at four bytes each, the name is short enough for every file system."""

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows reserves for devices, in any folder and with any extension."""


def file_name(served: str) -> str:
    """Return a name as one visible path component; a long name is cut at the front, to keep the extension."""
    # No leading dot, which would hide the file or lead upwards, and no trailing dot, which Windows drops.
    name = re.sub(r"[^\w.-]", "_", served)[-LONGEST:].strip(".") or "_"
    return f"_{name}" if DEVICES.match(name) else name


def folder_name(served_id: str) -> str:
    """Return an id as one path component; different ids give different components."""
    name = file_name(served_id)
    return (
        name if name == served_id else f"{name}-{hashlib.sha256(served_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    )
