"""Who may ask, and what every answer says to browsers. Around the whole app, before a body is read."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from utils.web.hosts import host_name, is_address

READING = ("GET", "HEAD")

# Nothing but this app's own files: no inline script or style, no other host, no frame around it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Guard:
    """Refuses what other sites' pages make a browser ask, and adds ``HEADERS`` to every answer.

    A request has to name one of ``hosts`` as its Host: a site whose name suddenly leads to this machine (DNS rebinding)
    names itself. With ``any_address`` every numeric address will do, too, since no name stands behind it. What changes
    anything has to come from this app's own page, or from no page.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], any_address: bool = False) -> None:
        self.app, self.any_address = app, any_address
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if (refusal := self._refusal(scope["method"], Headers(scope=scope))) is not None:
            status, error = refusal
            await JSONResponse({"error": error}, status)(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_known(host_name(hosts[0])):
            return 400, "unknown Host: the app answers to the address that it printed"
        if method not in READING and is_foreign(headers, hosts[0]):
            return 403, "only the app's own page may ask this from within a browser"
        return None

    def _is_known(self, host: str | None) -> bool:
        return host is not None and (host in self.hosts or (self.any_address and is_address(host)))


def is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that a page of another origin asks. Programs say nothing."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return True
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
