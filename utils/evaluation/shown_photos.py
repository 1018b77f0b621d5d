"""What queries and their candidates show: rewards of photos that were replaced since are not theirs."""

from dataclasses import dataclass
from typing import Any

from utils.candidates import Query
from utils.model.fingerprints import digest
from utils.photos.store import ImageStore


@dataclass(frozen=True)
class ShownPhotos:
    """The photos of queries and of their candidates, as they lie there now."""

    photos: ImageStore
    gallery: ImageStore

    def note(self, query: Query) -> dict[str, Any]:
        """Which photos a query shows, ready for JSON.

        Of its own photo size, time and content, of its candidates' a digest of sizes and times.
        """
        return self._now(query) | {"content": self.photos.content(query.image)}

    def renewed(self, query: Query, noted: dict[str, Any]) -> dict[str, Any] | None:
        """An earlier note with the times of now; None where the query shows other photos than then.

        Where only the time of its own photo differs, the content decides.
        """
        now = self._now(query)
        if now["gallery"] != noted["gallery"] or now["size"] != noted["size"]:
            return None
        if now["time"] != noted["time"] and self.photos.content(query.image) != noted["content"]:
            return None
        return noted | now

    def _now(self, query: Query) -> dict[str, Any]:
        own = self.photos.stamp(query.image)
        shown = [self.gallery.stamp(candidate.image) for candidate in query.candidates if candidate.image is not None]
        stamps = [stamp and tuple(stamp) for stamp in shown]
        return {"size": own and own.size, "time": own and own.time, "gallery": digest(str(stamps))[:16]}
