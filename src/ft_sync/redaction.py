"""Removes the keys of this process from all text, in whatever way they are encoded there; performs no I/O.

Code that obtains a key registers it with `learn`. A service may repeat the key that it was sent, so whatever comes from
one is redacted before it is used, and all text is redacted once more before it is printed.

A key is looked for in the text as it is, in the text with its escape sequences decoded, and in whatever runs of
hexadecimal and base64 digits encode; then again in each of these, since encodings are nested. What is found is traced
back to the characters of the original text, which become `***`.
"""

from __future__ import annotations

import binascii
import re
import sys
import threading
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html.entities import html5
from operator import is_not
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

MASK = "***"

SHORTEST = 8
"""Minimum length of a key in characters; shorter strings could be parts of ordinary words."""

DEEPEST = 6
"""Number of nested encodings that are decoded.

One that is broken into lines counts as two, or as three if its line ends are escaped; so does text in UTF-16.
"""

PORTION = 2**20
"""Bytes that are searched at a time, since what is decoded takes several times their memory."""

GROWTH = 1_024
"""Factor by which nested encodings may make a key longer and it is still found across two portions."""

REMEMBERED = 100
"""Maximum length in characters of texts whose redaction is remembered."""

SHORT_SEQUENCE = 16
"""Maximum length in bytes of escape sequences whose decoding is remembered."""

LINE = 32
"""Least length of a line, in digits, that may be continued on the next one; encoders use 60, 64 or 76."""

UNTOUCHED = frozenset({int, float, bool, type(None)})
"""Types of JSON that hold no text."""

KEYS = (
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_WEBHOOK_SECRET",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "WANDB_API_KEY",
)
URLS = ("OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables of the environment that hold keys, and those whose URL may."""

BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
HEX = b"0123456789ABCDEFabcdef"
URLSAFE, STANDARD = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")


def _marked(**kinds: bytes) -> bytes:
    """Return a table for `bytes.translate` that replaces bytes by the letter of their kind, all others by a space."""
    return bytes(next((ord(kind) for kind, of in kinds.items() if byte in of), ord(" ")) for byte in range(256))


IN_BASE64, IN_HEX = _marked(x=BASE64, n=b" \t\r\n"), _marked(x=HEX)
OTHER = re.compile(b"[^x]")

ENTITIES = {name.encode(): char.encode() for name, char in html5.items() if char.isascii()}
"""HTML's names of ASCII characters; some may lack the semicolon."""

ESCAPE = rb"""
    %%(?:[0-9a-fA-F]{2}(?:%%[0-9a-fA-F]{2})*  |  u[0-9a-fA-F]{4})
  | \\(?:
        x[0-9a-fA-F]{2}(?:\\x[0-9a-fA-F]{2})*
      | u%(unit)b
      | [xu]\{[0-9a-fA-F]++\}
      | U[0-9a-fA-F]{8}
      | 0000(?:[2-7][0-9a-fA-F] | 0[9aAdD])
      | 0[0-3][0-7]{2}(?:\\0[0-3][0-7]{2})+
      | 0(?!1[25])[0-3][0-7]{2}
      | [0-3][0-7]{2}
      | [2-7][0-7](?![0-7])
      | (?<=[A-Za-z0-9+/_-]{%(line)d}\\)\\*+[rn](?:\\++[rn])*+
      | (?<!\\\\)\\(?:\\\\)*+(?!\\?[%(idle)b])
      | [%(punctuation)b]
    )
  | &(?:\#(?:0*[0-9]{1,7} | [xX]0*[0-9a-fA-F]{1,6});?  |  %(entities)b)
  | =(?:[0-9A-F]{2}(?:=[0-9A-F]{2}){3,} | %(quoted)b)
"""
"""Matches an escape sequence, or a series of the same kind.

They are those of URLs, of JSON, programming languages and CSS, of HTML, and of quoted-printable text. In octal, four
digits that begin with a line end are three and one more, unless there are several.
"""

ASCII_UNIT = rb"00[0-7][0-9a-fA-F](?:\\u00[0-7][0-9a-fA-F])*"
ANY_UNIT = rb"[0-9a-fA-F]{4}(?:(?<=[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})?"

SYNTAX = "/#;=+-_.~{}"
r"""Punctuation whose backslash is removed, as is that of punctuation in keys; `\%` and `\&` begin other sequences."""

IDLE = "\"'bfnrt"
"""What strings in JSON within JSON escape most: a series of backslashes before these is left alone, for speed."""

WRAP = re.compile(rb"(?=\s)(?<=[A-Za-z0-9+/_-]{%d})[ \t]*+[\r\n][ \t\r\n]*+(?=[A-Za-z0-9+/_-])" % LINE)
"""Matches line ends between base64 digits, with blank lines and the space around them."""

NULS = re.compile(rb"\0+")

QUOTED_PRINTABLE = re.compile("=[2-7][0-9A-F]")

QUOTED = re.compile("2[BDEF]|3D|5F")
"""Punctuation of keys in quoted-printable text, where it stands alone; not if a key itself looks like that."""

CSS = re.compile(rb"\\0000[0-9a-fA-F]{2}")

HEX_KEY = re.compile(r"(?:[0-9a-fA-F]{2}){8,}")

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Known:
    """The known keys, and what can be said of any text that holds one of them; `urls` are found as they are only."""

    keys: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    @cached_property
    def forms(self) -> tuple[str, ...]:
        numbers = filter(HEX_KEY.fullmatch, self.keys)
        return tuple({*self.keys, *self.urls, *(form for number in numbers for form in _forms_of_number(number))})

    @cached_property
    def least(self) -> int:
        """Least length of a text in characters that holds a key as it is."""
        return min(map(len, self.forms), default=2**62)

    @cached_property
    def plain(self) -> tuple[bytes, ...]:
        return tuple(map(_encoded, self.forms))

    @cached_property
    def shortest(self) -> int:
        """Length of the shortest key in bytes; none is as short when it is encoded."""
        return min((len(_encoded(key)) for key in self.keys), default=2**62)

    @cached_property
    def digits(self) -> int:
        """Least number of base64 digits that an encoded key takes; hexadecimal ones are more."""
        return self.shortest * 8 // 6 - 1

    @cached_property
    def in_text(self) -> bytes:
        """Table that marks the bytes of text in which a key may be, encoded or not."""
        return _marked(x=bytes([*b"\0\t\r\n", *range(32, 127), *b"".join(self.plain)]))

    @cached_property
    def least_text(self) -> bytes:
        """What as much text as the shortest key is when it is marked."""
        return b"x" * min(map(len, self.plain), default=0)

    @cached_property
    def overlap(self) -> int:
        return GROWTH * max(map(len, self.plain), default=0)

    @cached_property
    def escape(self) -> re.Pattern[bytes]:
        characters = "".join(self.keys)
        own = {char for char in characters if char.isascii() and not char.isalnum()}
        parts = {
            b"unit": ASCII_UNIT if characters.isascii() else ANY_UNIT,
            b"line": LINE,
            b"idle": re.escape("\0" if "\\" in own else "".join({"\0", *IDLE} - own)).encode(),
            b"punctuation": re.escape("".join({*SYNTAX} | own)).encode(),
            b"quoted": b"(?!)"
            if any(map(QUOTED.match, (part for key in self.keys for part in key.split("=")[1:])))
            else QUOTED.pattern.encode(),
            b"entities": b"|".join(sorted(ENTITIES, reverse=True)),
        }
        return re.compile(ESCAPE % parts, re.VERBOSE)


_known = _Known()
_lock = threading.Lock()


def learn(secret: object) -> None:
    """Register a key, password or token to be redacted; strings that are too short and other types are ignored."""
    if isinstance(secret, str) and len(secret := secret.strip()) >= SHORTEST and secret not in _known.keys:
        _add(keys={secret})


def learn_url(url: str | None) -> None:
    """Register the user name and password in a URL to be redacted."""
    try:
        user, at, _ = urlsplit(url or "").netloc.rpartition("@")
    except ValueError:  # not a URL; reported by the code that uses it
        return
    if at:
        _add(urls={f"//{user}@"})
        learn(unquote(user))
        learn(unquote(user.partition(":")[2]))


def learn_environment(environment: Mapping[str, str]) -> None:
    """Register the keys in environment variables to be redacted."""
    for name in KEYS:
        learn(environment.get(name))
    for name in URLS:
        learn_url(environment.get(name) or environment.get(name.lower()))


def redact(text: str) -> str:
    """Return the text with every known key, encoded or not, replaced by `***`; without one, the same object."""
    known = _known
    if len(text) < SHORTEST or not _may_be_in(text, known):
        return text
    clean = _short_redacted(text, known) if len(text) <= REMEMBERED else _text_redacted(text, known)
    return text if clean == text else clean


def redacted(value: Any) -> Any:  # noqa: ANN401 - JSON, or what is to become some
    """Redact all strings in a value, at any depth, including dictionary keys; other types are left unchanged.

    A value, or a part of it, that holds no key is returned as the same object.
    """
    kind = type(value)
    if kind is str:
        return redact(value)
    if kind in UNTOUCHED:
        return value
    if isinstance(value, dict):
        pairs = {redacted(key): redacted(below) for key, below in value.items()}
        is_changed = any(map(is_not, pairs, value)) or any(map(is_not, pairs.values(), value.values()))
        return pairs if is_changed or len(pairs) < len(value) else value
    if isinstance(value, list) or kind is tuple:
        entries = tuple(map(redacted, value)) if kind is tuple else [redacted(entry) for entry in value]
        return entries if any(map(is_not, entries, value)) else value
    return _bytes_redacted(value, _known) if isinstance(value, bytes) else value


def cleanse(error: BaseException) -> None:
    """Redact, in place, the messages of an SDK's exception and its causes."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.args = redacted(cause.args)
        if isinstance(message := getattr(cause, "message", None), str):
            cause.message = redact(message)  # type: ignore[attr-defined]
        cause = cause.__cause__ or cause.__context__


def _add(keys: AbstractSet[str] = frozenset(), urls: AbstractSet[str] = frozenset()) -> None:
    global _known  # noqa: PLW0603 - the keys belong to the process
    with _lock:
        _known = _Known(_known.keys | keys, _known.urls | urls)


def _may_be_in(text: str, known: _Known) -> bool:
    """Tell quickly of most short texts that no key is in them."""
    if len(text) >= known.digits or "%" in text or "\\" in text or "&" in text:
        return True
    if len(text) < known.least:
        return False
    if "=" in text and QUOTED_PRINTABLE.search(text):
        return True
    for form in known.forms:  # noqa: SIM110 - each string of each event comes by here; `any` takes twice the time
        if form in text:
            return True
    return False


def _text_redacted(text: str, known: _Known) -> str:
    return _bytes_redacted(_encoded(text), known).decode("utf-8", "surrogatepass")


_short_redacted = lru_cache(1_024)(_text_redacted)
"""The names and values in JSON that might be a key's encoding, since they are long enough, are often the same."""


def _forms_of_number(key: str) -> Iterator[str]:
    """Yield other ways to write a key that is a hexadecimal number: in either case, and its bytes in base64."""
    yield from (key.lower(), key.upper())
    octets = bytes.fromhex(key)
    for before, begin in enumerate((0, 2, 3)):  # bytes that may stand before it in a group of three; their digits
        end = (before + len(octets)) * 8 // 6
        digits = binascii.b2a_base64(bytes(before) + octets)[begin:end]
        yield from (digits.decode(), digits.translate(STANDARD).decode())


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _bytes_redacted(content: bytes, known: _Known) -> bytes:
    """Replace the keys in a text of any size, portion by portion, each overlapping the next."""
    spans = set[Span]()
    for start in range(0, len(content) if known.plain else 0, PORTION):
        portion = content[start : start + PORTION + known.overlap]
        spans.update((start + begin, start + end) for begin, end in _found(portion, known))
    kept: list[bytes] = []
    at = 0
    for begin, end in sorted(spans):
        if begin >= at:
            kept += content[at:begin], MASK.encode()
        at = max(at, end)
    return b"".join([*kept, content[at:]]) if spans else content


def _found(content: bytes, known: _Known, depth: int = 0) -> Iterator[Span]:
    """Yield where keys are, at once or below so many encodings."""
    for form in known.plain:
        at = content.find(form)
        while at >= 0:
            yield at, at + len(form)
            at = content.find(form, at + len(form))
    if depth < DEEPEST and len(content) > known.shortest:
        for decoded in _decoded(content, known):
            for begin, end in _found(decoded.content, known, depth + 1):
                yield decoded.begin(begin), decoded.end(end)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Decoded bytes, and where each came from.

    Attributes:
        content: The decoded bytes.
        places: For each encoded piece, ascending: its place in the content, the number of bytes that it encodes, and
            its beginning and end in the text. Within a piece, each byte takes the same share of the text.
    """

    content: bytes
    places: list[tuple[int, int, int, int]]

    def begin(self, at: int) -> int:
        """Return where the encoding of the byte at this place begins."""
        return self._trace(at, 0)

    def end(self, at: int) -> int:
        """Return where the encoding of the byte before this place ends."""
        return self._trace(at - 1, 1)

    def _trace(self, at: int, after: int) -> int:
        index = bisect_right(self.places, (at, 2**62, 0, 0)) - 1
        if index < 0:
            return at + after
        place, number, begin, end = self.places[index]
        inside = at - place
        if inside >= number:
            return end + inside - number + after
        # Rounded down for a beginning, up for an end: a base64 digit may belong to two bytes.
        share, rounding = end - begin, (number - 1) * after
        return begin + ((inside + after) * share + rounding) // number


def _decoded(content: bytes, known: _Known) -> Iterator[_Decoded]:
    """Yield what the content may encode, one encoding removed."""
    if b"\0" in content and (whole := _replaced(content, NULS, lambda _: b"")):  # text in UTF-16, for instance
        yield whole  # and nothing else: whatever is encoded here is so there, too
        return
    digits = content.translate(IN_BASE64)
    if b"x" * LINE + b"n" in digits and (whole := _replaced(content, WRAP, lambda _: b"")):
        yield whole  # and nothing else, again
        return
    if (b"%" in content or b"\\" in content or b"&" in content or b"=" in content) and (
        decoded := _replaced(content, known.escape, _unescaped)
    ):
        yield decoded
    for begin, end in _runs(digits, known.digits):
        run = content[begin:end].translate(URLSAFE)
        # Where the first byte begins is unknown: digits of something else may stand right before it.
        for shift in range(4):
            padded = run[shift:] + b"A" * (-(len(run) - shift) % 4)
            octets = binascii.a2b_base64(padded)
            if known.least_text in octets.translate(known.in_text):
                encoded = (len(run) - shift) * 6 // 8  # the rest is of the padding
                yield _Decoded(octets[:encoded], [(0, len(octets), begin + shift, begin + shift + len(padded))])
        for first, last in _runs(content[begin:end].translate(IN_HEX), 2 * known.shortest):
            for shift in range(2):
                start, stop = begin + first + shift, begin + last - (last - first - shift) % 2
                octets = binascii.a2b_hex(content[start:stop])
                yield _Decoded(octets, [(0, len(octets), start, stop)])


def _runs(marked: bytes, least: int) -> Iterator[Span]:
    """Yield the runs of at least so many `x`."""
    end = 0
    while (begin := marked.find(b"x" * least, end)) >= 0:
        after = OTHER.search(marked, begin + least)
        end = after.start() if after else len(marked)
        yield begin, end


def _replaced(content: bytes, pattern: re.Pattern[bytes], decode: Callable[[bytes], bytes]) -> _Decoded | None:
    """Return the content with all matches decoded; None if there are none."""
    pieces: list[bytes] = []
    places: list[tuple[int, int, int, int]] = []
    size = at = 0
    for match in pattern.finditer(content):
        begin, end = match.span()
        decoded = decode(match[0])
        pieces += content[at:begin], decoded
        size += begin - at
        places.append((size, len(decoded), begin, end))
        size += len(decoded)
        at = end
    return _Decoded(b"".join([*pieces, content[at:]]), places) if places else None


def _unescaped(sequence: bytes) -> bytes:
    """Decode what `ESCAPE` matched."""
    return _short_unescaped(sequence) if len(sequence) <= SHORT_SEQUENCE else _sequence_unescaped(sequence)


def _sequence_unescaped(sequence: bytes) -> bytes:
    kind = sequence[1:2]
    if sequence[:1] == b"&":
        return (
            _character(sequence[2:].strip(b"xX;"), 16 if b"x" in sequence.lower() else 10)
            if kind == b"#"
            else ENTITIES[sequence[1:]]
        )
    digits = sequence.translate(None, rb"%\xuU{}=")
    if kind == b"U" or sequence[2:3] == b"{":
        return _character(digits, 16)
    if kind == b"u":
        return _encoded(binascii.a2b_hex(digits).decode("utf-16-be", "surrogatepass"))
    if kind == b"x" or sequence[:1] in {b"%", b"="}:
        return binascii.a2b_hex(digits)
    if CSS.fullmatch(sequence):
        return binascii.a2b_hex(digits[-2:])
    if digits.isdigit():
        return bytes(int(number, 8) for number in sequence[1:].split(b"\\"))
    if sequence[-1:] in {b"n", b"r"}:
        return b"\n" if sequence[-1:] == b"n" else b"\r"
    return sequence[1::2]  # of a series of backslashes


_short_unescaped = lru_cache(1_024)(_sequence_unescaped)
"""A text with many of them, as in HTML, repeats them."""


def _character(digits: bytes, base: int) -> bytes:
    """Return the character with this number; a placeholder for a number that is none's."""
    number = int(digits.lstrip(b"0") or b"0", base)
    return _encoded(chr(number)) if number <= sys.maxunicode else b"?"
