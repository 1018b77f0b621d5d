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


def url_for_others(host: str, port: int) -> str | None:
    """Where browsers on other machines find an app that listens at a wildcard; None where that is not known.

    It is the address that this machine has on the way to all others. Nothing is sent: a datagram socket learns it from
    naming a peer, here an address that nobody has (RFC 5737, RFC 3849).
    """
    family, peer = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            own = probe.getsockname()[0]
    except OSError:  # there is no way to any other
        return None
    return None if ipaddress.ip_address(own).is_loopback else url(own, port)


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
