"""Ways in which a service may write a key, and a naive search for keys that shares nothing with ftsync's own."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = {"/": "sol", "_": "lowbar", "+": "plus", "=": "equals", ".": "period", "&": "amp", '"': "quot", "%": "percnt"}


def _every(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form % ord(char) for char in text)


ENCODERS: dict[str, Callable[[str], str]] = {
    "url": lambda text: quote(text, safe=""),
    "url, lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "url, in full": _every("%%%02x"),
    "url, in full, upper case": _every("%%%02X"),
    "url, every other": lambda text: "".join(f"%{ord(char):02x}" if at % 2 else char for at, char in enumerate(text)),
    "slashes": lambda text: text.replace("\\", "\\\\").replace("/", "\\/"),
    "json": json.dumps,
    "json, in full": _every("\\u%04x"),
    "json, in full, upper case": _every("\\u%04X"),
    "python": _every("\\x%02x"),
    "python, long": _every("\\U%08x"),
    "javascript": _every("\\u{%x}"),
    "shell": _every("\\%03o"),
    "printf": _every("\\0%03o"),
    "perl": _every("\\x{%02x}"),
    "css": _every("\\%06x"),
    "javascript, padded": _every("\\u{%07x}"),
    "quoted-printable": _every("=%02X"),
    "old url": _every("%%u%04x"),
    "html": html.escape,
    "html, decimal": _every("&#%d;"),
    "html, padded": _every("&#%07d"),
    "html, hexadecimal": _every("&#x%x;"),
    "html, upper case": _every("&#X%X;"),
    "html, named": lambda text: "".join(f"&{NAMES[char]};" if char in NAMES else char for char in text),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64, in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64, within": lambda text: base64.b64encode(f"api:{text}.".encode()).decode(),
}


def holds(key: str, content: bytes, depth: int = 4) -> bool:
    """Whether a key is in the content, as it is or decoded so many times."""
    if key.encode() in content:
        return True
    return depth > 0 and any(holds(key, decoded, depth - 1) for decoded in _decoded(key, content))


def _decoded(key: str, content: bytes) -> Iterator[bytes]:
    """Yield the content with all of its escape sequences decoded, one kind at a time, and its runs of digits."""
    candidates = [
        unquote_to_bytes(content),
        re.sub(rb"%u(....)", lambda found: _character(found[1]), content),
        html.unescape(content.decode("latin-1")).encode("latin-1", "replace"),
        re.sub(
            rb"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]+)\}|\\U([0-9a-fA-F]{8})|\\([0-7]{3})|\\(.)",
            _unescaped,
            content,
        ),
        re.sub(rb"\r?\n|\\n", b"", content),
    ]
    yield from (one for one in candidates if one != content)
    least = len(key)
    for run in re.findall(rb"[0-9a-fA-F]{%d,}" % (2 * least), content):
        yield from (bytes.fromhex(run[at : len(run) - (len(run) - at) % 2].decode()) for at in (0, 1))
    for run in re.findall(rb"[A-Za-z0-9+/_-]{%d,}" % (least * 4 // 3), content):
        digits = run.replace(b"-", b"+").replace(b"_", b"/")
        yield from (base64.b64decode(digits[at:] + b"A" * (-len(digits[at:]) % 4)) for at in range(4))


def _character(number: bytes) -> bytes:
    try:
        return chr(int(number, 16)).encode("utf-8", "replace")
    except (ValueError, OverflowError):
        return number


def _unescaped(found: re.Match[bytes]) -> bytes:
    *numbers, octal, char = found.groups()
    if char is not None:
        return bytes(char)
    if octal is not None:
        return bytes([int(octal, 8) % 256])
    return next(_character(number) for number in numbers if number is not None)
