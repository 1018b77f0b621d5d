"""What a page may load and run: nothing but its own style and script, which are known by their hashes."""

import base64
import hashlib
from collections.abc import Iterable, Mapping

OF_A_FILE = {
    "default-src": "'none'",
    "img-src": "data: blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def content_security_policy(
    styles: Iterable[str], scripts: Iterable[str], more: Mapping[str, str] | None = None
) -> str:
    """The policy of a page whose inline ``styles`` and ``scripts`` are exactly these texts.

    ``more`` adds directives or replaces those of ``OF_A_FILE``, as a server needs: ``{"connect-src": "'self'",
    "frame-ancestors": "'none'"}``, of which the latter counts in a header only.
    """
    own = {"style-src": " ".join(map(source_hash, styles)), "script-src": " ".join(map(source_hash, scripts))}
    return "; ".join(f"{name} {value}" for name, value in (OF_A_FILE | own | dict(more or {})).items())


def source_hash(text: str) -> str:
    """How a policy names an inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
