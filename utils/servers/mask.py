"""Keeping the key of a server out of what is printed and kept, although servers and models repeat it."""

import base64
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import quote, unquote, urlsplit

# Fewer characters are no secret, such as the EMPTY that is given to servers without keys, and stand in other words.
LEAST = 6
MASK = "[key]"


@dataclass(frozen=True)
class Mask:
    """Replaces ``secrets``, and their beginnings from ``LEAST`` characters on, by ``[key]``.

    A text has to be masked before it is cut to length: what a cut leaves of a secret may be shorter than ``LEAST``.
    Shorter secrets are not masked.
    """

    secrets: tuple[str, ...]

    @classmethod
    def of(cls, api_key: str, base_url: str | None) -> "Mask":
        """The mask of a key, and of user and password where the address of the server has some."""
        secrets = [api_key]
        parts = urlsplit(base_url or "")
        if parts.username or parts.password:
            login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            secrets += [login, parts.netloc.rpartition("@")[0], base64.b64encode(login.encode()).decode()]
            secrets += [unquote(parts.password or "")]
        # Addresses write some signs in another way, and so do JSON encoders that escape slashes.
        written = {form for secret in secrets for form in (secret, quote(secret, safe=""), secret.replace("/", r"\/"))}
        return cls(tuple(sorted(form for form in written if len(form) >= LEAST)))

    def __call__(self, text: str) -> str:
        for start in sorted({secret[:LEAST] for secret in self.secrets}):
            rests = [secret[LEAST:] for secret in self.secrets if secret.startswith(start)]
            before, *after = text.split(start)
            text = before + "".join(MASK + piece[max(_common(piece, rest) for rest in rests) :] for piece in after)
        return text


def _common(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
