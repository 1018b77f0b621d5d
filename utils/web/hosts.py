"""By which names and addresses the app is asked for. Without anything heavy: the script asks, too."""

import ipaddress
import socket
from urllib.parse import urlsplit

LOCAL = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::")  # every address of this machine


def names(host: str) -> list[str]:
    """Of an app that listens at ``host``; behind a wildcard any address counts, too."""
    return [*LOCAL, socket.gethostname() if host in WILDCARDS else host]


def url(host: str, port: int) -> str:
    """Where a browser on this machine finds it."""
    shown = "127.0.0.1" if host in WILDCARDS else host
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def host_name(header: str) -> str | None:
    """The host of a Host header, in small letters, without port and brackets; None where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises where it is none
    except ValueError:
        return None
    return parts.hostname if parts.netloc == header and "@" not in header else None


def is_address(host: str) -> bool:
    """Whether it is numeric: no name stands behind it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
