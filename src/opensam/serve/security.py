"""Who may ask: only this machine, or who has the token; only pages of this server; and what browsers are told.

A page elsewhere in the web must not use the server through the browser of somebody who runs one. Its requests carry
its own Origin. If it makes its name point to this machine (DNS rebinding), the Host is its name. Both are refused.
"""

import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from opensam.serve.errors import problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "opensam_token"
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/healthz",)  # says nothing, and supervisors ask for it
_WRONG = "expected the token of this server as Authorization: Bearer ..., or once as ?token=...; got none or another"

HEADERS = {
    # These two give a page threads and precise clocks: the decoder in the browser wants shared memory.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
        "connect-src 'self' blob: data:; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""On every answer."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen at."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests for other names, from other pages, and without the token.

    Args:
        app: what is guarded.
        token: what a request must carry; None: nothing.
        hosts: names beside those of this machine. None given together with a token: any, because a page that
            pretends to be this server does not have the token.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Iterable[str]) -> None:
        self._app, self._token = app, token
        self._hosts = {host.lower() for host in hosts}
        self._any_host = token is not None and not self._hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._any_host and _name(host) not in self._hosts.union(LOOPBACK):
            return problem(403, "expected a request for this machine, got one for another name; see --allow-host")
        if not self._same_origin(headers, host, scope["method"]):
            return problem(403, "expected a request from a page of this server, got one from another page")
        if self._token is None or scope["path"] in _OPEN:
            return None
        given, asked = _tokens(headers), dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if any(self._is_token(one) for one in given):
            return None
        if self._is_token(asked.pop("token", "")) and scope["method"] == "GET":
            return self._let_in(scope["path"], asked, scope["scheme"] == "https")
        return problem(401, _WRONG, {"WWW-Authenticate": "Bearer"})

    def _same_origin(self, headers: Headers, host: str, method: str) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return method in _SAFE or headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        place = urlsplit(origin).netloc.lower() if origin != "null" else ""
        return place != "" and (place == host.lower() or _name(place) in self._hosts)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())

    def _let_in(self, path: str, query: dict[str, str], secure: bool) -> Response:
        """The browser keeps the token as a cookie, and it goes from the address, which people copy."""
        # "//elsewhere" would be another server
        target = "/" + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")
        answer = RedirectResponse(target, 303)
        answer.set_cookie(COOKIE, self._token or "", httponly=True, samesite="lax", secure=secure)
        return answer


def _tokens(headers: Headers) -> list[str]:
    kind, _, value = headers.get("authorization", "").partition(" ")
    found = [value.strip()] if kind.lower() == "bearer" else []
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        cookie = None
    return found if cookie is None else [*found, cookie.value]


def _name(place: str) -> str:
    """The name in "name:port" or "[::1]:port"."""
    try:
        return (urlsplit(f"//{place}").hostname or "").rstrip(".")
    except ValueError:
        return ""
