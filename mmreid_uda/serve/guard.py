"""The door of the server: every request passes it before anything of it is read.

In this order: the Host it asks for (a page of another site that has its own name point here is refused), how often its
client asks, the Origin of the page it comes from, the token, and the size of its body, which is held against the limit
while it comes in. Each response gets the headers that keep a browser from running or showing what it should not, and
each request one line in the log, without its query and its headers.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import time
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import HTTPException
from fastapi.responses import JSONResponse, Response

from mmreid_uda.utils import in_a_line, sentence_about

from .rates import RateLimiter
from .settings import ServerSettings

__all__ = ["COOKIE", "Guard", "Sessions", "error_response"]

COOKIE = "mmreid_session"
LOG = logging.getLogger("mmreid_uda.serve")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every response."""

# Addresses of the API that nobody needs a token for; the files of the page, too, are everybody's.
_OPEN = ("/v1/health", "/v1/login")
_PICTURE_COST = 0.05
_FILES = (".css", ".js", ".svg", ".png", ".ico", ".html")
Scope = MutableMapping[str, Any]


def error_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """The one shape that every error has.

    Args:
        status: Of HTTP.
        sentence: What was found, what was expected, and what mends it.
        headers: Further headers.

    Returns:
        JSON with ``error``.
    """
    return JSONResponse({"error": sentence}, status, headers)


class Sessions:
    """Who a token or a cookie belongs to.

    A cookie is derived from a secret of this process and the name of the token: it ends with the server, and does not
    give the token away.

    Args:
        tokens: Name -> token; none lets everybody in as ``'local'``.
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        secret = secrets.token_bytes(32)
        self.tokens = tokens
        self.cookies = {
            name: hmac.new(secret, name.encode(), hashlib.sha256).hexdigest() for name in tokens
        }

    def name_of_token(self, token: str) -> str | None:
        """Whose token this is.

        Args:
            token: What a client gives.

        Returns:
            Its name; None for a wrong one.
        """
        return _same(self.tokens, token)

    def name_of(self, headers: dict[str, str]) -> str | None:
        """Who sends a request.

        Args:
            headers: Of the request, by names in lower case.

        Returns:
            The name of the token; None for somebody without one.
        """
        if not self.tokens:
            return "local"
        kind, _, token = headers.get("authorization", "").partition(" ")
        if token:
            return self.name_of_token(token.strip()) if kind.lower() == "bearer" else None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return _same(self.cookies, cookie.value) if cookie else None


def _same(known: dict[str, str], given: str) -> str | None:
    """The name of a secret; all are compared to their ends, so that the time tells nothing."""
    found = None
    for name, secret in known.items():
        if hmac.compare_digest(secret.encode(), given.encode(errors="replace")):
            found = name
    return found


class Guard:
    """Middleware that lets in what may come in.

    Args:
        app: What is behind the door.
        settings: Who may talk to it, and how much.
        sessions: Tokens and cookies.
    """

    def __init__(self, app: Any, settings: ServerSettings, sessions: Sessions) -> None:
        self.app, self.settings, self.sessions = app, settings, sessions
        self.rates = RateLimiter(settings.limits.rate, settings.limits.burst)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Let a request in, or refuse it; see ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:  # there is nothing that a websocket could reach
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Scope, receive: Any, send: Any) -> None:
        started, status = time.perf_counter(), 0

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_headers(message["headers"])}
            await send(message)

        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        client = (scope.get("client") or ("local",))[0]
        refusal, name = self._judge(scope, headers, client)
        scope.setdefault("state", {})
        scope["state"]["who"] = name if name == "local" else f"{name}@{client}"
        scope["state"]["client"] = client
        body = self._counted(receive, self._most(headers))
        try:
            await (refusal or self.app)(scope, body, answer)
        except Exception as error:
            # The last door: whoever asks learns that it failed, whoever runs the server why.
            LOG.error("%s", sentence_about(error)[0], exc_info=error)
            if not status:
                failed = error_response(
                    500,
                    f"found a fault of the server ({type(error).__name__}), expected none; its log tells more.",
                )
                await failed(scope, receive, answer)
        finally:
            took = 1000 * (time.perf_counter() - started)
            path = quote(scope["path"], safe="/:-_.~")
            LOG.info("%s %s %s %s %.0f ms", client, scope["method"], path, status or 499, took)

    def _judge(
        self, scope: Scope, headers: dict[str, str], client: str
    ) -> tuple[Response | None, str]:
        """A refusal, or None; and who asks."""
        host = _host(headers.get("host", ""))
        address = (scope.get("server") or (None,))[0]
        if host is None or not self.settings.is_called(host, address):
            return error_response(
                421,
                f"found a request for the host {in_a_line(ValueError(host or 'none'))!r}, expected a name that the "
                "server was started for; add it with --name.",
            ), "-"
        if wait := self.rates.wait_for(client, _cost(scope)):
            return error_response(
                429,
                f"found more requests of one client than {self.settings.limits.rate:g} a second, expected fewer; wait "
                f"{wait:.1f} s, or start the server with a higher --rate.",
                {"retry-after": str(math.ceil(wait))},
            ), "-"
        if not _from_own_page(scope["method"], headers):
            return error_response(
                403,
                "found a request of a page from another origin, expected the server's own page; send it without a "
                "browser, with a token if the server has one.",
            ), "-"
        name = self.sessions.name_of(headers)
        if name is None and scope["path"].startswith("/v1/") and scope["path"] not in _OPEN:
            return error_response(
                401,
                "found no token, or a wrong one, expected one that the server was started with; send it as "
                "'Authorization: Bearer TOKEN'.",
                {"www-authenticate": "Bearer"},
            ), "-"
        if _length(headers) > self._most(headers):
            return _too_large(self._most(headers)), name or "-"
        return None, name or "-"

    def _most(self, headers: dict[str, str]) -> int:
        """Bytes that a request may have."""
        limits = self.settings.limits
        form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        return limits.upload_bytes if form else limits.body_bytes

    def _counted(self, receive: Any, most: int) -> Any:
        """Parts of a body as they come, until they are too many or do not come any more."""
        read, done, patience = 0, False, self.settings.limits.body_seconds

        async def part() -> Any:
            nonlocal read, done
            if done:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), patience)
            except asyncio.TimeoutError:
                raise HTTPException(
                    408,
                    f"found no further part of the request within {patience:g} s, expected its end; send it again.",
                ) from None
            read += len(message.get("body", b""))
            done = not message.get("more_body", False)
            if read > most:
                raise HTTPException(413, _too_large_sentence(most))
            return message

        return part


def _too_large_sentence(most: int) -> str:
    return (
        f"found a request of more than {most} bytes, expected at most so many; send fewer or smaller images, or start "
        "the server with a higher --max-image-mb."
    )


def _too_large(most: int) -> Response:
    # The rest of the body is not read: the connection ends.
    return error_response(413, _too_large_sentence(most), {"connection": "close"})


def _with_headers(headers: Any) -> list[tuple[bytes, bytes]]:
    """Headers of a response with those that every one has; pictures may be kept by a browser, nothing else."""
    given = {key.lower() for key, _ in headers}
    more = {**HEADERS, "cache-control": "no-store"}
    return [
        *headers,
        *(
            (key.encode(), value.encode())
            for key, value in more.items()
            if key.encode() not in given
        ),
    ]


def _host(header: str) -> str | None:
    """The name of a Host header, without the port; None where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # refused where it is no number
    except ValueError:
        return None
    if not header or "@" in header or parts.path or parts.query or parts.fragment:
        return None
    name = parts.hostname
    try:
        return str(ipaddress.ip_address(name or ""))
    except ValueError:
        return name


def _from_own_page(method: str, headers: dict[str, str]) -> bool:
    """Whether a request comes from the server's own page, or from no page at all.

    A browser names the origin of every request that can change something, and says of newer kinds of requests
    whether they cross sites.
    """
    origin = headers.get("origin")
    if origin is not None:
        try:
            own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        except ValueError:
            return False
        return own and bool(urlsplit(origin).netloc)
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return True
    # Somebody who follows a link from elsewhere.
    return method == "GET" and headers.get("sec-fetch-mode") == "navigate"


def _length(headers: dict[str, str]) -> int:
    """Bytes that a request says it has; 0 where it does not."""
    text = headers.get("content-length", "")
    return int(text[:20]) if text.isascii() and text.isdigit() else 0


def _cost(scope: Scope) -> float:
    """What a request takes out of its client's bucket."""
    path = scope["path"]
    picture = path.endswith(("/image", "/thumbnail")) or PurePosixPath(path).suffix in _FILES
    return _PICTURE_COST if scope["method"] == "GET" and (picture or path == "/") else 1.0
