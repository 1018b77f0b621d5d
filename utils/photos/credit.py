"""Whose a photo is, under which licence, and where it was taken from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Credit:
    """What is to be said of a photo where it is shown; a text is empty where it is not known."""

    author: str
    author_id: str  # tells authors apart where their names do not
    licence: str
    licence_url: str
    source: str  # where it was taken from: an address, or the name of a collection

    @property
    def line(self) -> str:
        """What is to be shown under the photo, one line of text."""
        licence = self.known_licence
        if self.licence_url:
            licence += f" ({self.licence_url})"
        return ", ".join(filter(None, (self.known_author, licence, self.source)))

    @property
    def known_author(self) -> str:
        """Also says where nobody knows."""
        return self.author or "unknown author"

    @property
    def known_licence(self) -> str:
        """Also says where nobody knows."""
        return self.licence or "licence not stated"

    def as_json(self) -> dict[str, str]:
        """Ready for JSON."""
        names = ("author", "licence", "licence_url", "source")
        return {name: getattr(self, name) for name in names}
