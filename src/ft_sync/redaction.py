"""What must not be told: the keys of this process, and texts without them; it reads no environment and no file.

Whoever gets hold of a key says so with `learn`. Text that a service sends is redacted where it comes in, since the
service may repeat the key that it was sent; and once more where it leaves for a screen.
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
"""Characters of a key; what is shorter is none, and would be found in ordinary words."""

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
"""Every way in which a known key may be written, the longest first: a short one may be part of it."""

_lock = threading.Lock()


def learn(secret: object) -> None:
    """Keep a key, password or token out of all texts from now on; anything else than a long enough text is none."""
    if isinstance(secret, str) and len(secret := secret.strip()) >= SHORTEST and secret not in _forms:
        _add(_written(secret))


def learn_url(url: str | None) -> None:
    """Keep the user and the password of a URL out of all texts."""
    try:
        user, at, _ = urlsplit(url or "").netloc.rpartition("@")
    except ValueError:  # no URL; whoever asks for it will say so
        return
    if at:
        _add({f"//{user}@", *_written(unquote(user))} if len(user) >= SHORTEST else {f"//{user}@"})
        learn(unquote(user.partition(":")[2]))


def learn_environment(environment: Mapping[str, str]) -> None:
    """Learn the keys that stand in an environment."""
    for name in KEYS:
        learn(environment.get(name))
    for name in URLS:
        learn_url(environment.get(name) or environment.get(name.lower()))


def redact(text: str) -> str:
    """Return the text with `***` in the place of every known key."""
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


def redacted(value: Any) -> Any:  # noqa: ANN401 - JSON, or what is to become some
    """Return a value without keys, at any depth, names included; what is neither text nor a container stays itself."""
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
    """Take the keys out of what an error of an SDK and its causes would print."""
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
    """Return the secret as it is, in a URL, in JSON, and as any base64 text that contains it would show it."""
    forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    raw = secret.encode("utf-8", "replace")
    for before in range(3):  # bytes in front of it: an encoding in groups of three has so many ways to begin
        encoded = base64.b64encode(bytes(before) + raw).decode()
        # Without the characters that also stand for bits of what is around it.
        whole = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        forms |= {whole, whole.translate({ord("+"): "-", ord("/"): "_"})}
    return forms


def _redact_bytes(content: bytes) -> bytes:
    for form in _forms:
        content = content.replace(form.encode("utf-8", "replace"), MASK.encode())
    return content
