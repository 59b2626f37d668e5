"""Keeps a client's keys away from hosts that the user has not named, and out of all output; bounds its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ft_sync import redaction
from ft_sync.sources import bounds

if TYPE_CHECKING:
    import httpx2
    import openai

HOME = "ft_sync.home"
"""Request extension that holds the original URL; redirected requests inherit it."""

SENT_ANYWHERE = frozenset({"accept", "accept-encoding", "connection", "host", "range", "user-agent"})
"""Headers that do not identify the user."""

SECRET = re.compile("auth|key|token|secret")
"""Matches the names of headers that carry keys; each service has its own."""

PORTS = {"http": 80, "https": 443}


def guarded(client: openai.OpenAI) -> openai.OpenAI:
    """Return the client, guarded in what ftsync requests with it; its owner's other requests are not affected.

    Its keys are registered for redaction and sent only to its own host, and its answers are bounded.
    """
    redaction.learn(client.api_key)
    redaction.learn_url(str(client.base_url))
    hooks = client._client.event_hooks  # noqa: SLF001 - the SDK does the same, but for Azure's key alone
    for hooks_of_kind, hook in ((hooks["request"], keep_keys_at_home), (hooks["response"], bounds.bounded)):
        if hook not in hooks_of_kind:
            hooks_of_kind.append(hook)
    return client


def keep_keys_at_home(request: httpx2.Request) -> None:
    """Drop what identifies the user from a request that was redirected to another host.

    The transport drops only `Authorization`, but some services use other headers for keys. A request hook is called for
    each request in a chain of redirects, and also sees keys that the client obtains anew for each request.
    """
    if not bounds.is_asking():
        return
    for name, value in request.headers.items():
        if SECRET.search(name):
            redaction.learn(value.rpartition(" ")[2])
    if not _is_same(request.extensions.setdefault(HOME, request.url), request.url):
        for name in request.headers.keys() - SENT_ANYWHERE:
            del request.headers[name]


def _is_same(home: httpx2.URL, there: httpx2.URL) -> bool:
    """Whether both URLs lead to the same server; an upgrade from http to https on the same host counts as the same."""
    upgraded = home.scheme == "http" and _port(home) == PORTS["http"] and there.scheme == "https"
    wanted = ("https", PORTS["https"]) if upgraded else (home.scheme, _port(home))
    return home.host == there.host and wanted == (there.scheme, _port(there))


def _port(url: httpx2.URL) -> int | None:
    return url.port or PORTS.get(url.scheme)
