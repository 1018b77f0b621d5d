"""Candidates that a vision-language model guesses: on this machine, or behind a server."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from utils.candidates import Candidate
from utils.generation.journal import Reply
from utils.generation.local import LocalModel, ask_local
from utils.geography.answers import parse_answers
from utils.locating.photo import Photo
from utils.locating.sources import Found
from utils.photos.images import ImageError

if TYPE_CHECKING:
    from utils.generation.api import ApiModel


class Guesses:
    """The places in a model's answers; those that name no usable place, or were cut off in one, are left out.

    ``ask`` takes photos by name, and how many answers each is to have, and returns their replies by name.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, Image.Image], int], Mapping[str, Reply]],
        model: str,
        count: int,
        merge_km: float = 0.0,
    ) -> None:
        self.ask, self.model, self.take, self.merge_km = ask, model, count, merge_km
        self.words = f"guesses of {model}"

    def with_count(self, count: int) -> "Guesses":
        """So many of the same model."""
        return Guesses(self.ask, self.model, count, self.merge_km)

    @classmethod
    def local(cls, model: LocalModel, name: str, count: int, merge_km: float = 0.0) -> "Guesses":
        """Of a model on this machine, the first greedy, the others sampled; ``name`` is what to call it."""

        def ask(photos: Mapping[str, Image.Image], count: int) -> dict[str, Reply]:
            replies = ask_local(model, photos, _InMemory(photos), batch_size=len(photos), num_samples=count)
            return {reply.img_id: reply for reply in replies}

        return cls(ask, name, count, merge_km)

    @classmethod
    def served(cls, load: "Callable[[int], ApiModel]", name: str, count: int, merge_km: float = 0.0) -> "Guesses":
        """Of a model behind a server, all sampled; ``load`` makes its client, which asks for so many answers."""
        from utils.generation.api import ask_all

        def ask(photos: Mapping[str, Image.Image], count: int) -> dict[str, Reply]:
            replies: dict[str, Reply] = {}
            # A client belongs to the loop that it is used in.
            ask_all(load(count), photos, _InMemory(photos), lambda reply: replies.update({reply.img_id: reply}))
            return replies

        return cls(ask, name, count, merge_km)

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        """Names of files tell photos apart, and must differ."""
        replies = self.ask({photo.name: photo.image for photo in photos}, self.take)
        return [_found(replies[photo.name]) for photo in photos]

    def open(self, image_id: str) -> Image.Image:
        raise ImageError(f"{image_id}: a guess has no photo")


def _found(reply: Reply) -> Found:
    if reply.problem is not None:
        return Found([], problems=(f"no guesses: {reply.problem}",), unanswered=True)
    places, _ = parse_answers(reply.whole)
    lost = len(reply.answers) - len(places)
    notes = (f"{lost} of {len(reply.answers)} guesses name no usable place and are left out",) if lost else ()
    return Found([Candidate(*place, source="generation") for place in places], notes=notes)


class _InMemory:
    """Photos by name, for those who ask a store."""

    def __init__(self, photos: Mapping[str, Image.Image]) -> None:
        self.open = photos.__getitem__
