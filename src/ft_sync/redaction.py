"""Removes the keys of this process from all text; reads no environment and no file itself.

Code that obtains a key registers it with `learn`. Text from a service is redacted when it is received, since a service
may echo the key that it was sent, and all text is redacted once more before it is printed.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK = "***"

SHORTEST = 8
"""Minimum length of a key in characters; shorter strings could be parts of ordinary words."""

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

_forms: tuple[str, ...] = ()
"""All encodings of the known keys, longest first, since a short one may be part of a longer one."""

_lock = threading.Lock()


def learn(secret: object) -> None:
    """Register a key, password or token to be redacted; strings that are too short and other types are ignored."""
    if isinstance(secret, str) and len(secret := secret.strip()) >= SHORTEST and secret not in _forms:
        _add(_written(secret))


def learn_url(url: str | None) -> None:
    """Register the user name and password in a URL to be redacted."""
    try:
        user, at, _ = urlsplit(url or "").netloc.rpartition("@")
    except ValueError:  # not a URL; reported by the code that uses it
        return
    if at:
        _add({f"//{user}@", *_written(unquote(user))} if len(user) >= SHORTEST else {f"//{user}@"})
        learn(unquote(user.partition(":")[2]))


def learn_environment(environment: Mapping[str, str]) -> None:
    """Register the keys in environment variables to be redacted."""
    for name in KEYS:
        learn(environment.get(name))
    for name in URLS:
        learn_url(environment.get(name) or environment.get(name.lower()))


def redact(text: str) -> str:
    """Return the text with every known key replaced by `***`."""
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


def redacted(value: Any) -> Any:  # noqa: ANN401 - JSON, or what is to become some
    """Redact all strings in a value, at any depth, including dictionary keys; other types are left unchanged."""
    match value:
        case str() if type(value) is str:
            return redact(value)
        case bytes():
            return _redact_bytes(value)
        case dict():
            return {redacted(key): redacted(below) for key, below in value.items()}
        case list():
            return [redacted(entry) for entry in value]
        case tuple() if type(value) is tuple:
            return tuple(redacted(entry) for entry in value)
        case _:
            return value


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


def _add(forms: set[str]) -> None:
    global _forms  # noqa: PLW0603 - the keys belong to the process
    with _lock:
        _forms = tuple(sorted({*_forms, *forms}, key=len, reverse=True))


def _written(secret: str) -> set[str]:
    """Return the encodings of a secret: plain, URL-quoted, in JSON, and within any base64 text that contains it."""
    forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    raw = secret.encode("utf-8", "replace")
    for before in range(3):  # base64 encodes groups of three bytes, so the secret may begin at three offsets
        encoded = base64.b64encode(bytes(before) + raw).decode()
        # Only the characters that depend on the secret alone, not on the bytes around it.
        whole = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        forms |= {whole, whole.translate({ord("+"): "-", ord("/"): "_"})}
    return forms


def _redact_bytes(content: bytes) -> bytes:
    for form in _forms:
        content = content.replace(form.encode("utf-8", "replace"), MASK.encode())
    return content
