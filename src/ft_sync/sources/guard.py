"""What the keys of a client are kept from: hosts that its user has not named, and every text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ft_sync import redaction

if TYPE_CHECKING:
    import httpx2
    import openai

HOME = "ft_sync.home"
"""The extension of a request that holds where it was first sent; redirects keep it."""

SENT_ANYWHERE = frozenset({"accept", "accept-encoding", "connection", "host", "range", "user-agent"})
"""Headers that tell nothing of the user."""

SECRET = re.compile("auth|key|token|secret")
"""Is found in the names of headers that carry keys, each service's own."""

PORTS = {"http": 80, "https": 443}


def guarded(client: openai.OpenAI) -> openai.OpenAI:
    """Return the client, whose keys are known to `redaction` and stay with the host that it was made for."""
    redaction.learn(client.api_key)
    redaction.learn_url(str(client.base_url))
    hooks = client._client.event_hooks["request"]  # noqa: SLF001 - as the SDK does it for Azure's key alone
    if keep_keys_at_home not in hooks:
        hooks.append(keep_keys_at_home)
    return client


def keep_keys_at_home(request: httpx2.Request) -> None:
    """Drop what identifies the user from a request that was redirected to another host.

    The transport itself drops `Authorization` alone, while services have keys in headers of their own. A hook sees each
    request of a chain of redirects, and also keys that the client asks for anew each time.
    """
    for name, value in request.headers.items():
        if SECRET.search(name):
            redaction.learn(value.rpartition(" ")[2])
    if not _is_same(request.extensions.setdefault(HOME, request.url), request.url):
        for name in request.headers.keys() - SENT_ANYWHERE:
            del request.headers[name]


def _is_same(home: httpx2.URL, there: httpx2.URL) -> bool:
    """Whether it is the same server; the encrypted one at the same host is the same, too."""
    upgraded = home.scheme == "http" and _port(home) == PORTS["http"] and there.scheme == "https"
    wanted = ("https", PORTS["https"]) if upgraded else (home.scheme, _port(home))
    return home.host == there.host and wanted == (there.scheme, _port(there))


def _port(url: httpx2.URL) -> int | None:
    return url.port or PORTS.get(url.scheme)
