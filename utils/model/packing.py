"""One query as tokens: what its candidates share once, and what belongs to each candidate.

    prefix   system prompt, query photo (in `negatives_first` the negative examples too)  one row a query
    suffix   the question about one candidate, its photo, ..., the start of the answer    one row a candidate

Prefix and suffix ``k`` together are exactly the tokens and positions of candidate ``k``'s whole prompt, so
a model may compute the prefix once and every suffix after it. A batch holds each distinct photo once, however
often the prompts show it.
"""

import copy
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import BoolTensor, LongTensor, Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import BaseImageProcessor, PreTrainedTokenizerFast

from utils.candidates import Query
from utils.model.batch import EncodedImage, PackedBatch, Segment, TokenizedQuery
from utils.model.prompts import ChatFrame, Layout, Part, Words, leave_out

IMAGE_TOKEN = "<|image_pad|>"  # the placeholder of every Qwen-VL tokenizer


def image_key(image: str | Image.Image) -> Hashable:
    """The key of a photo in a mapping of encoded images: its id or path, or which object in memory it is."""
    return image if isinstance(image, str) else id(image)


class RopeIndex(Protocol):
    """``get_rope_index`` of a stock Qwen-VL model: ids (1, length) -> positions (3, 1, length), deltas."""

    def __call__(
        self, input_ids: LongTensor, *, mm_token_type_ids: LongTensor, image_grid_thw: LongTensor
    ) -> tuple[LongTensor, Tensor]: ...


class Packer:
    """Turns photos and queries into batches for one model and prompt, in data workers too.

    ``omit`` are parts of a query that its prompts do not show. Raises ``ValueError`` for a tokenizer whose chat
    template has no place for a photo.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        image_processor: BaseImageProcessor,
        rope_index: RopeIndex,
        layout: Layout,
        omit: Sequence[Part] = (),
    ):
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.rope_index = rope_index
        self.layout = layout
        self.omit = tuple(omit)
        self.frame = ChatFrame.of(tokenizer)
        if self.frame.image.count(IMAGE_TOKEN) != 1:
            raise ValueError(f"the chat template writes {self.frame.image!r} for a photo, without one {IMAGE_TOKEN}")
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.tags = {
            part: tokenizer(part.split(IMAGE_TOKEN), add_special_tokens=False)["input_ids"]
            for part in (self.frame.head + self.frame.image, self.frame.image, self.frame.tail)
        }

    def limited(self, max_pixels: int | None) -> "Packer":
        """The same packer, which encodes photos at no more than ``max_pixels``; None: this very one.

        Where the least size of a photo is more than that, ``max_pixels`` is both.
        """
        if max_pixels is None:
            return self
        limited = copy.copy(self)
        limited.image_processor = copy.deepcopy(self.image_processor)
        least = min(self.image_processor.size["shortest_edge"], max_pixels)
        limited.image_processor.size = {"shortest_edge": least, "longest_edge": max_pixels}
        return limited

    def encode(self, image: Image.Image) -> EncodedImage:
        """An RGB photo as patches, resized by the checkpoint's rule. Raises ``ValueError`` beyond 200 : 1."""
        encoded = self.image_processor(images=image, return_tensors="pt")
        return EncodedImage(encoded["image_grid_thw"][0], pixel_values=encoded["pixel_values"])

    def image_tokens(self, image: EncodedImage) -> int:
        """How many tokens a photo takes in a prompt."""
        return int(image.grid_thw.prod()) // self.image_processor.merge_size**2

    def pack(self, queries: Sequence[Query], images: Mapping[Hashable, EncodedImage]) -> PackedBatch:
        """Queries as one batch; ``images`` holds their photos under ``image_key``.

        Raises ``KeyError`` for a photo that ``images`` lacks.
        """
        return self.collate([self.tokenize(query, images) for query in queries], images)

    def tokenize(self, query: Query, images: Mapping[Hashable, EncodedImage]) -> TokenizedQuery:
        """One query, unpadded."""
        if self.omit:
            query = leave_out(self.omit, query)
        rows = [self.frame.prefix(query.negatives, self.layout)]
        rows += [self.frame.suffix(candidate, query.negatives, self.layout) for candidate in query.candidates]
        pieces = self._pieces([part for parts in rows for part in parts])
        image_positions: dict[tuple[int, ...], LongTensor] = {}  # by grid

        def segment(parts: list[str], image: str | Image.Image | None, start: int) -> tuple[Segment, int]:
            """A segment whose first token has position ``start``, and the position that follows it."""
            ids, positions = [], []
            for number, text in [found for part in parts for found in enumerate(pieces[part])]:
                if number:
                    grid = tuple(images[image_key(image)].grid_thw.tolist())
                    if grid not in image_positions:
                        image_positions[grid] = self._image_positions(grid)
                    found = image_positions[grid] + start
                    ids += [self.image_token_id] * (len(found) - 1)
                    positions.append(found[:-1])
                    start = int(found[-1, 0])
                ids += text
                positions.append(torch.arange(start, start + len(text))[:, None].expand(-1, 3))
                start += len(text)
            shown = [] if image is None else [image_key(image)]
            return Segment(torch.tensor(ids), torch.cat(positions), shown), start

        prefix, end = segment(rows[0], query.image, 0)
        return TokenizedQuery(
            prefix,
            [
                segment(parts, candidate.image, end)[0]
                for parts, candidate in zip(rows[1:], query.candidates, strict=True)
            ],
        )

    def _pieces(self, parts: Sequence[str]) -> dict[str, list[list[int]]]:
        """The tokens of each distinct part of prompts, cut in pieces where a photo's placeholder stands.

        A special token is a border for the tokenizer, and one stands at either end of all tags: so the parts have the
        tokens that the whole prompt has, and what candidates have in common is tokenized only once.
        """
        words = list({part: None for part in parts if isinstance(part, Words)})
        # The same tokenizer without its added tokens, made of the same objects: it costs microseconds.
        whole = self.tokenizer.backend_tokenizer
        plain = Tokenizer(whole.model)
        plain.normalizer, plain.pre_tokenizer = whole.normalizer, whole.pre_tokenizer
        encoded = plain.encode_batch_fast(words, add_special_tokens=False)
        return self.tags | {part: [text.ids] for part, text in zip(words, encoded, strict=True)}

    def _image_positions(self, grid: tuple[int, ...]) -> LongTensor:
        """Positions of a photo at the start of a row and of the token that follows it, (tokens + 1, 3).

        A model numbers text one by one, and a photo by its own rule from where the text before it ends: so this
        is all that is needed to place it anywhere.
        """
        grid_thw = torch.tensor([grid])
        ids = torch.full((1, int(grid_thw.prod()) // self.image_processor.merge_size**2 + 1), self.image_token_id)
        types = torch.ones_like(ids)
        ids[:, -1] = self.tokenizer.pad_token_id
        types[:, -1] = 0
        positions, _ = self.rope_index(ids, mm_token_type_ids=types, image_grid_thw=grid_thw)
        return positions[:, 0].T

    def collate(self, queries: Sequence[TokenizedQuery], images: Mapping[Hashable, EncodedImage]) -> PackedBatch:
        """Tokenized queries, at least one candidate in all, as one batch."""
        prefixes = [query.prefix for query in queries]
        suffixes = [suffix for query in queries for suffix in query.suffixes]
        keys = list(dict.fromkeys(key for segment in prefixes + suffixes for key in segment.images))
        photos = [images[key] for key in keys]
        ends = torch.tensor([self.image_tokens(photo) for photo in photos]).cumsum(0).tolist()
        rows = {key: torch.arange(start, end) for key, start, end in zip(keys, [0, *ends[:-1]], ends, strict=True)}

        def image_rows(segment: Segment) -> LongTensor:
            found = torch.full_like(segment.ids, -1)
            if segment.images:
                found[segment.ids == self.image_token_id] = torch.cat([rows[key] for key in segment.images])
            return found

        def padded(segments: list[Segment]) -> tuple[LongTensor, BoolTensor, LongTensor, LongTensor]:
            ids = pad_sequence(
                [segment.ids for segment in segments],
                batch_first=True,
                padding_value=self.tokenizer.pad_token_id,
            )
            lengths = torch.tensor([len(segment.ids) for segment in segments])
            positions = pad_sequence([segment.positions for segment in segments], batch_first=True)
            return (
                ids,
                torch.arange(ids.shape[1]) < lengths[:, None],
                positions.movedim(-1, 0),
                pad_sequence([image_rows(s) for s in segments], batch_first=True, padding_value=-1),
            )

        known = photos[0].features is not None
        return PackedBatch(
            *padded(prefixes),
            *padded(suffixes),
            query_index=torch.arange(len(queries)).repeat_interleave(
                torch.tensor([len(query.suffixes) for query in queries])
            ),
            image_grid_thw=torch.stack([photo.grid_thw for photo in photos]),
            pixel_values=None if known else torch.cat([photo.pixel_values for photo in photos]),
            features=torch.cat([photo.features for photo in photos], dim=1) if known else None,
        )


def chunks(queries: Iterable[TokenizedQuery], max_tokens: int) -> Iterator[list[TokenizedQuery]]:
    """Cut a stream of queries into batches of bounded size, in order.

    No batch takes more than ``max_tokens`` (see ``padded_tokens``) but one with a single candidate that does. To
    split a query means to compute its prefix and photo again: only one that would not fit alone is split.
    Queries without candidates are skipped.
    """
    chunk: list[TokenizedQuery] = []
    for query in queries:
        if not query.suffixes:
            continue
        if chunk and padded_tokens([*chunk, query]) > max_tokens:
            yield chunk
            chunk = []
        if padded_tokens([*chunk, query]) <= max_tokens:
            chunk.append(query)
            continue
        own: list[Segment] = []
        for suffix in query.suffixes:
            if own and padded_tokens([TokenizedQuery(query.prefix, [*own, suffix])]) > max_tokens:
                yield [TokenizedQuery(query.prefix, own)]
                own = []
            own.append(suffix)
        chunk = [TokenizedQuery(query.prefix, own)]
    if chunk:
        yield chunk


def padded_tokens(queries: Sequence[TokenizedQuery]) -> int:
    """What a batch takes with the prefix cache: B prefixes, and N times a prefix and a suffix, all padded."""
    suffixes = [len(suffix.ids) for query in queries for suffix in query.suffixes]
    prefix = max(len(query.prefix.ids) for query in queries)
    return len(queries) * prefix + len(suffixes) * (prefix + max(suffixes))
