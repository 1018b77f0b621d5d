"""GeoRanker: how near is a candidate place to where a photo was taken? (paper 2505.13731)

A stock vision-language model reads the query photo and a candidate; a linear head on the last token gives the
reward. The candidates of a query share the start of their prompt, its prefix, which goes through the model once, in
either of two exact ways: with a prefix cache or in a packed row (``utils/model/sharing.py``).

Example, with the shipped tiny model and adapter:

>>> from utils.candidates import Candidate
>>> ranker = GeoRanker.from_pretrained("checkpoints/earth-base", "checkpoints/earth")
>>> candidates = [Candidate(46.17, 7.1, ("Riddes", "Valais", "Switzerland")), Candidate(-33.87, 151.21)]
>>> for place in ranker.rank("dataset/earth/test/images/test_000000.jpg", candidates):
...     print(place.candidate.latitude, place.candidate.longitude, place.reward, place.share)
"""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import BoolTensor, Tensor, nn
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedModel

from utils.candidates import Candidate, Query
from utils.jobs.reading import naming
from utils.model.adapter import load_lora, without_lora
from utils.model.adapter_info import FILENAME, AdapterInfo, adapter_info
from utils.model.base_model import check_base
from utils.model.batch import EncodedImage, PackedBatch, part
from utils.model.budget import MAX_TOKENS
from utils.model.checkpoint import KEY_MAPPING, load_checkpoint, naming_part
from utils.model.device import checked_device, own_device
from utils.model.domain import Domain, describe_photos
from utils.model.halving import score_in_halves
from utils.model.last_hidden import with_packed_rows, with_prefix_cache
from utils.model.memory import DoesNotFit, remedy_for
from utils.model.packing import IMAGE_TOKEN, Packer, chunks, image_key
from utils.model.preprocessing import PROCESSOR, TOKENIZER, check_room, load_tokenizer, load_tower_processor
from utils.model.prompts import Layout, Part
from utils.model.quantizations import Quantization
from utils.model.recurrence import is_recurrent
from utils.model.rope_index import check_sections, rope_index
from utils.model.score_head import ScoreHead
from utils.model.sharing import SHARINGS, Sharing
from utils.model.tower import image_features
from utils.photos.images import open_image
from utils.photos.jpeg import as_jpeg
from utils.photos.store import ImageStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankedCandidate:
    candidate: Candidate
    reward: float  # higher is nearer
    share: float  # of the candidates ranked together, which have 1; no probability of the truth


class GeoRanker(nn.Module):
    """``backbone``, a stock ``AutoModel`` of a Qwen-VL checkpoint, and ``score``, a linear head without bias.

    Raises ``ValueError`` for an attention implementation of the language model that takes no 4-D mask.
    """

    def __init__(self, backbone: PreTrainedModel, packer: Packer, info: AdapterInfo):
        super().__init__()
        attention = backbone.language_model.config._attn_implementation
        if attention not in ("sdpa", "eager"):
            raise ValueError(f"the language model's attention is {attention!r}: it must be 'sdpa' or 'eager'")
        hidden = backbone.language_model.config.hidden_size
        self.backbone = backbone
        self.score = ScoreHead(hidden, device=backbone.device)
        nn.init.normal_(self.score.weight, std=1 / (hidden + 1))
        self.packer = packer
        self.candidate_packer = packer.limited(info.candidate_max_pixels)  # encodes candidates' photos
        self.info = info
        self.domain: Domain | None = None  # of photos that the adapter was calibrated on; None: nobody said
        self.name_or_path = info.base_model  # peft notes it in the adapter's configuration
        self.quantize: Quantization | None = None  # of the backbone
        self._stock: list[PreTrainedModel] = []  # as a submodule it would have the backbone's weights a second time

    @classmethod
    def from_pretrained(
        cls,
        base: str | os.PathLike,
        adapter: str | os.PathLike | None = None,
        *,
        layout: Layout | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        attn_implementation: str | dict[str, str] | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        candidate_max_pixels: int | None = None,
        omit: Sequence[Part] | None = None,
        merge: bool | None = None,
        quantize: Quantization | None = None,
        generate: bool = False,
    ) -> "GeoRanker":
        """A ranker in evaluation mode.

        Args:
            base: hub name or folder of a Qwen2-VL, Qwen2.5-VL, Qwen3-VL or Qwen3.5 checkpoint.
            adapter: adapter folder, ours or a released one; without it the score head is random.
            layout, min_pixels, max_pixels, omit: prompt layout, size limits of a photo in pixels and parts left
                out of the prompt, where they are to differ from the adapter's (without one: "published", the
                checkpoint's limits, and nothing).
            candidate_max_pixels: the same of the size limit of candidates' photos (without one: ``max_pixels``).
            dtype: of the backbone; by default float32 on CPU, elsewhere what the checkpoint is stored in.
            device: by default CUDA where there is any, else CPU.
            attn_implementation: "sdpa" (default) or "eager"; or of each part, such as
                {"text_config": "sdpa", "vision_config": "flash_attention_2"}.
            merge: fold the adapter into the weights, which is fastest. By default only in float32: 16-bit
                weights would round small updates away, quantised ones do not take them, and without them is guessed.
            quantize: load the language model's linear layers in fewer bits, which changes rewards, see
                ``utils/model/quantizations.py``; everything else stays as ``dtype`` says.
            generate: keep the language-model head, so that the same weights can guess places: see ``stock``.

        Raises:
            ValueError: naming the file, where one of checkpoint or adapter is damaged or does not suit the others, or
                has tensors that are no finite numbers; listing the keys, when tensors are missing, left over or of
                another shape; for ``merge`` and ``candidate_max_pixels`` where that cannot be; for a base that
                ``check_base`` refuses.
            FileNotFoundError: when ``adapter`` is no adapter folder, or lacks the file of its domain.
        """
        if merge and (quantize is not None or generate):
            raise ValueError("merge: an adapter stays beside weights that are quantised, or that guess places, too")
        device = checked_device(str(device) if device is not None else own_device(0))
        info = AdapterInfo(str(base)) if adapter is None else adapter_info(adapter, base)
        check_base(base)
        stock = load_checkpoint(
            AutoModelForImageTextToText if generate else AutoModel,
            base,
            unused=() if generate else ("lm_head.weight",),
            dtype=dtype or (torch.float32 if device.type == "cpu" else "auto"),
            device=device,
            quantize=quantize,
            attn_implementation=attn_implementation,
            key_mapping=KEY_MAPPING,
        )
        backbone = stock.base_model
        check_sections(base, backbone)
        if Path(info.base_model).name != Path(base).name:
            # Models of one size have tensors of the same shapes: nothing else would tell.
            logger.warning("%s was trained on %s, not on %s", adapter, info.base_model, base)
        processor = load_tower_processor(base, backbone)
        with naming(Path(base, PROCESSOR) if adapter is None else Path(adapter, FILENAME)):
            info = replace(
                info,
                layout=layout or info.layout,
                min_pixels=min_pixels or info.min_pixels or processor.size["shortest_edge"],
                max_pixels=max_pixels or info.max_pixels or processor.size["longest_edge"],
                candidate_max_pixels=info.candidate_max_pixels if candidate_max_pixels is None else None,
                omit=info.omit if omit is None else tuple(omit),
            )
            check_room(info.candidate_max_pixels, processor)
        if candidate_max_pixels is not None:  # said by the caller: no file is to blame for it
            info = replace(info, candidate_max_pixels=candidate_max_pixels)
            check_room(candidate_max_pixels, processor)
        processor.size = {"shortest_edge": info.min_pixels, "longest_edge": info.max_pixels}
        tokenizer = load_tokenizer(base, backbone, IMAGE_TOKEN)
        with naming_part(base, "chat_template.jinja", TOKENIZER):
            packer = Packer(tokenizer, processor, rope_index(backbone), info.layout, info.omit)
        ranker = cls(backbone, packer, info)
        ranker.quantize = quantize
        if generate:
            ranker._stock.append(stock)
        if adapter is not None:
            adapted = load_lora(ranker, adapter, quantize=quantize)
            if merge is None:
                merge = backbone.dtype == torch.float32 and quantize is None and not generate
            ranker = adapted.merge_and_unload() if merge else adapted.get_base_model()
        if info.domain is not None:
            ranker.domain = Domain.load(adapter, backbone.language_model.config.hidden_size)
        return ranker.eval()

    @property
    def stock(self) -> PreTrainedModel:
        """The stock model that ``backbone`` is a part of, with its language-model head. It is there with ``generate``.

        The adapter is part of it: only within ``without_adapter`` it answers as it did before training.
        """
        (stock,) = self._stock
        return stock

    def without_adapter(self) -> AbstractContextManager[None]:
        """Within, the LoRA of an adapter that is not merged is off."""
        return without_lora(self)

    def forward(self, batch: PackedBatch, sharing: Sharing = "prefix_cache") -> Tensor:
        """Rewards of the batch's candidates, float32 (N,)."""
        return self.score(self.last_hidden(batch, sharing)).squeeze(-1)

    def last_hidden(self, batch: PackedBatch, sharing: Sharing = "prefix_cache") -> Tensor:
        """The last hidden state of every candidate's prompt, (N, hidden), of which ``score`` makes the reward."""
        if sharing not in SHARINGS:
            raise ValueError(f"sharing is {sharing!r}: it is {' or '.join(map(repr, SHARINGS))}")
        compute = with_prefix_cache if sharing == "prefix_cache" else with_packed_rows
        return compute(self.backbone, batch, self.encode_images(batch), self._mask)

    def encode_images(self, batch: PackedBatch) -> Tensor:
        """The batch's features, (1 + deepstack layers, tokens, hidden): given, or computed from its pixels."""
        if batch.features is not None:
            return batch.features
        return image_features(self.backbone, batch.pixel_values, batch.image_grid_thw)

    def _mask(self, allowed: BoolTensor) -> Tensor:
        """(rows, length, keys) bool -> 4-D mask; eager attention adds it: there it is 0 or very negative."""
        allowed = allowed[:, None]
        if self.backbone.language_model.config._attn_implementation == "sdpa":
            return allowed
        zeros = torch.zeros_like(allowed, dtype=self.backbone.dtype)
        return zeros.masked_fill(~allowed, torch.finfo(zeros.dtype).min)

    def enable_gradient_checkpointing(self) -> None:
        """Compute the language model's activations again in the backward pass; takes ``sharing="packed_row"``.

        Raises ``ValueError`` for recurrent layers, which take no packed rows.
        """
        if is_recurrent(self.backbone.config):
            raise ValueError("the base model has recurrent layers: train it without gradient checkpointing")
        language_model = self.backbone.language_model
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
        # The backward pass begins with the last layer: to let go of its activations would save no memory.
        language_model.layers[-1].gradient_checkpointing = False

    @torch.inference_mode()
    def score_queries(
        self,
        queries: Sequence[Query],
        images: Mapping[Hashable, EncodedImage],
        max_tokens: int = MAX_TOKENS,
    ) -> list[Tensor]:
        """Rewards of each query's candidates, one float32 CPU tensor (candidates,) a query.

        ``images`` holds the photos under ``utils.model.packing.image_key``, a query's as ``packer`` encodes it, a
        candidate's as ``candidate_packer`` does. ``max_tokens`` bounds the memory of a batch (see
        ``utils.model.packing.chunks``): what does not fit is cut into several.

        Raises ``DoesNotFit``, a ``torch.OutOfMemoryError``, where not even a single candidate fits into memory.
        """
        rewards = []
        for chunk in chunks((self.packer.tokenize(query, images) for query in queries), max_tokens):
            whole = self.packer.collate(chunk, images)
            values, too_large = score_in_halves(
                lambda batch: self(batch.to(self.backbone.device)), whole, self.packer.image_processor.merge_size
            )
            if too_large:
                why = self.remedy(whole, too_large[0])
                raise DoesNotFit(f"a query photo with one candidate does not fit into memory{why}")
            rewards.append(values)
        sizes = [len(query.candidates) for query in queries]
        return list(torch.cat([torch.empty(0), *rewards]).split(sizes))

    def score_photos(self, queries: Sequence[Query], max_tokens: int = MAX_TOKENS) -> list[Tensor]:
        """Rewards as ``score_queries`` gives them, of queries all of whose photos are in memory, as in ``rank``.

        The candidates' photos are re-encoded as JPEG where ``info.candidate_jpeg_quality`` says so, and as small as
        ``info.candidate_max_pixels`` says; the query's is not. Raises ``ValueError`` where a reward is no number.
        """
        quality = self.info.candidate_jpeg_quality
        shown = [place.image for query in queries for place in query.candidates if place.image is not None]
        # A photo that is a query's and a candidate's then has two forms.
        if quality is not None or self.candidate_packer is not self.packer:
            both = set(map(id, shown))
            queries = [
                replace(query, image=query.image.copy()) if id(query.image) in both else query for query in queries
            ]
        encoded = {image_key(query.image): self.packer.encode(query.image) for query in queries}
        for photo in shown:
            if image_key(photo) not in encoded:
                encoded[image_key(photo)] = self.candidate_packer.encode(as_jpeg(photo, quality))
        found = self.score_queries(queries, encoded, max_tokens)
        for rewards in found:
            if not rewards.isfinite().all():
                raise ValueError(f"a reward is no number: {rewards.tolist()}")
        return found

    def remedy(self, batch: PackedBatch, candidate: int) -> str:
        """Which ``--quantize`` would make room for a ``candidate`` of ``batch`` that does not fit even alone.

        In words, to end a message with; empty on a CPU.
        """
        alone = part(batch, candidate, candidate + 1, self.packer.image_processor.merge_size)
        return remedy_for(self._stock[0] if self._stock else self.backbone, self.quantize, alone)

    def knows(self, photo: Image.Image) -> bool:
        """Whether an RGB photo is like those that the adapter was calibrated on; True where nobody said which."""
        return self.domain is None or self.domain.holds(describe_photos(self.backbone, self.packer, [photo]))

    def rank(
        self,
        image: str | os.PathLike | Image.Image,
        candidates: Sequence[Candidate],
        negatives: Sequence[Candidate] = (),
        *,
        images: ImageStore | Mapping[str, Image.Image] | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> list[RankedCandidate]:
        """Candidate places of one photo, nearest first; see the module's example.

        The candidates' photos are prepared as in ``score_photos``.

        Args:
            image: the query photo, a path or a photo in memory (upright RGB, as ``open_image`` returns it).
            candidates: places; their photos are in memory, ids of ``images``, or without it paths.
            negatives: negative examples of the prompt.
            images: where the candidates' photos are found by id: a store, or photos in memory.
            max_tokens: see ``score_queries``.

        Returns:
            Records with the candidate, its reward, and its share: softmax(rewards / temperature) at
            the temperature fitted for the adapter.

        Raises:
            ImageError: naming a photo that cannot be read.
            ValueError: where a reward is no number.
        """

        def opened(photo: str) -> Image.Image:
            if images is None:
                return open_image(photo)
            return images[photo] if isinstance(images, Mapping) else images.open(photo)

        names = {candidate.image for candidate in candidates if isinstance(candidate.image, str)}
        photos = {name: opened(name) for name in names}
        # In memory, the query's path cannot be mistaken for the id of a candidate's photo.
        shown = tuple(
            replace(candidate, image=photos[candidate.image]) if isinstance(candidate.image, str) else candidate
            for candidate in candidates
        )
        query = Query(image if isinstance(image, Image.Image) else open_image(image), shown, tuple(negatives))
        (rewards,) = self.score_photos([query], max_tokens)
        shares = torch.softmax(rewards / self.info.temperature, dim=0)
        ranked = map(RankedCandidate, candidates, rewards.tolist(), shares.tolist())
        return sorted(ranked, key=lambda place: place.reward, reverse=True)
