"""Places guessed by a vision-language model on this machine; ``utils/generation/api.py`` asks one behind a server.

Both are asked ``GENERATION_PROMPT`` about one photo and give several answers, word for word;
``utils/geography/answers.py`` reads the coordinates in them.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

import torch
from PIL import Image
from torch import FloatTensor, LongTensor, Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BaseImageProcessor,
    Cache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
)

from utils.generation.journal import Reply
from utils.model.checkpoint import load_checkpoint, naming_part
from utils.model.device import placed
from utils.model.halving import in_halves
from utils.model.packing import IMAGE_TOKEN
from utils.model.preprocessing import PROCESSOR, TOKENIZER, load_image_processor, load_tokenizer
from utils.model.prompts import GENERATION_PROMPT
from utils.model.quantizations import Quantization
from utils.model.rope_index import check_sections
from utils.photos.images import ImageError
from utils.photos.store import ImageStore

TURN = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": GENERATION_PROMPT}]}


class SeededSampling(LogitsProcessor):
    """Makes greedy search sample: the largest of ``logits + temperature * Gumbel noise`` is a draw from
    ``softmax(logits / temperature)`` (Gumbel-max trick).

    Each row draws from a generator of its own, so its answer depends neither on the other rows of a batch nor
    on where an interrupted run went on. A row whose generator is None stays greedy.
    """

    def __init__(self, temperature: float, generators: Sequence[torch.Generator | None]) -> None:
        self.temperature = temperature
        # Rows of a vocabulary of 150,000 take milliseconds each, so all cores draw.
        cores = os.cpu_count()
        size = math.ceil(len(generators) / cores)
        self.blocks = [generators[start : start + size] for start in range(0, len(generators), size)]
        self.pool = ThreadPoolExecutor(cores)

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        def draw(block: Sequence[torch.Generator | None]) -> Tensor:
            return torch.stack([gumbel_noise(generator, scores.shape[1]) for generator in block])

        noise = torch.cat(list(self.pool.map(draw, self.blocks)))  # (rows, vocabulary)
        return scores + (self.temperature * noise).to(scores)


def gumbel_noise(generator: torch.Generator | None, size: int) -> Tensor:
    """``size`` draws from the standard Gumbel distribution, float64; zeros without a generator."""
    noise = torch.zeros(size, dtype=torch.float64)
    if generator is not None:
        noise.uniform_(generator=generator).clamp_(min=torch.finfo(torch.float64).tiny).log_().neg_().log_().neg_()
    return noise


def answer_generator(seed: int, img_id: str, number: int) -> torch.Generator:
    """The random numbers of answer ``number`` about a photo."""
    digest = hashlib.sha256(f"{seed} {number} {img_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


# What a batch holds per token of the prompt; all else belongs to the photos.
PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


class QwenEncoder:
    """Photos and the question as input of a Qwen-VL.

    Its own processor would do the same, but cannot be made without a video processor and thus torchvision.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, image_processor: BaseImageProcessor) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    def __call__(self, photos: Sequence[Image.Image]) -> dict[str, Tensor]:
        prompt = self.tokenizer.apply_chat_template(
            [TURN], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        images = self.image_processor(images=list(photos), return_tensors="pt")
        tokens = images["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2  # (photos,)
        prompts = [prompt.replace(IMAGE_TOKEN, IMAGE_TOKEN * count) for count in tokens.tolist()]
        text = self.tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
        image_token = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        return {**text, **images, "mm_token_type_ids": (text["input_ids"] == image_token).long()}


class ProcessorEncoder:
    """Photos and the question as input of any other model, by the processor of its checkpoint."""

    def __init__(self, processor: ProcessorMixin) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def __call__(self, photos: Sequence[Image.Image]) -> dict[str, Tensor]:
        prompt = self.processor.apply_chat_template([TURN], tokenize=False, add_generation_prompt=True)
        batch = self.processor(
            text=[prompt] * len(photos),
            images=[[photo] for photo in photos],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return dict(batch)


def load_encoder(base: str | os.PathLike, model: PreTrainedModel) -> QwenEncoder | ProcessorEncoder:
    """What makes photos the input of ``model``, which was loaded from the checkpoint ``base``.

    Raises ``ValueError``, naming the file, where one is damaged.
    """
    image_processor = load_image_processor(base)
    if isinstance(image_processor, Qwen2VLImageProcessorPil):
        return QwenEncoder(load_tokenizer(base, model, IMAGE_TOKEN), image_processor)
    with naming_part(base, "processor_config.json", PROCESSOR, TOKENIZER, "tokenizer.json"):
        return ProcessorEncoder(AutoProcessor.from_pretrained(base, backend="pil"))


class LocalModel:
    """A checkpoint on this machine. The first answer is greedy, the others are sampled.

    ``within`` is what answers are given in: ``GeoRanker.without_adapter`` where ``model`` ranks, too.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encode: QwenEncoder | ProcessorEncoder,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model = model.eval()
        self.encode = encode
        self.within = within
        ends = model.generation_config.eos_token_id  # one, several, or None
        self.ends = torch.tensor([] if ends is None else ends).flatten()

    @classmethod
    def from_pretrained(
        cls,
        base: str | os.PathLike,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device = "cpu",
        quantize: Quantization | None = None,
    ) -> "LocalModel":
        """Load a checkpoint folder or hub name.

        ``dtype`` "auto" is that of the checkpoint, and float32 on a CPU without instructions for it. ``quantize``
        loads the linear layers in fewer bits, which changes answers (``utils/model/quantizations.py``).

        Raises ``ValueError``, naming the file, where one is damaged, and the tensors, when the checkpoint lacks weights
        of the model, or has some of another shape.
        """
        model = load_checkpoint(AutoModelForImageTextToText, base, dtype=dtype, device=device, quantize=quantize)
        if dtype == "auto" and quantize is None:
            model = placed(model, device)
        encode = load_encoder(base, model)
        if isinstance(encode, QwenEncoder):
            check_sections(base, model.base_model)
        return cls(model, encode)

    @torch.inference_mode()
    def replies(
        self,
        photos: Mapping[str, Image.Image],
        num_samples: int = 10,
        temperature: float = 1.2,
        seed: int = 0,
        max_tokens: int = 200,
    ) -> list[Reply]:
        """``num_samples`` answers about each of ``photos`` (RGB, by id), all in one batch."""
        with self.within():
            return self._replies(photos, num_samples, temperature, seed, max_tokens)

    def _replies(
        self, photos: Mapping[str, Image.Image], num_samples: int, temperature: float, seed: int, max_tokens: int
    ) -> list[Reply]:
        inputs = {
            name: values.to(self.model.device, self.model.dtype if values.is_floating_point() else None)
            for name, values in self.encode(list(photos.values())).items()
        }
        cache = self._prefill(inputs, num_samples)
        # A photo's answers are rows of the batch: photo 0 answer 0, photo 0 answer 1, ...
        rows = {name: inputs[name].repeat_interleave(num_samples, dim=0) for name in ("input_ids", "attention_mask")}
        generators = [
            answer_generator(seed, img_id, number) if number else None
            for img_id in photos
            for number in range(num_samples)
        ]
        output = self.model.generate(
            **rows,  # (rows, length)
            past_key_values=cache,
            logits_processor=LogitsProcessorList([SeededSampling(temperature, generators)]),
            # A checkpoint's own generation settings (hub Qwen-VLs: top_k 1, repetition_penalty 1.05) would
            # bend the distribution that the temperature is meant for.
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                do_sample=False,
                repetition_penalty=1.0,
                temperature=1.0,
                top_k=50,
                top_p=1.0,
            ),
        )
        new = output[:, rows["input_ids"].shape[1] :].cpu()  # (rows, at most max_tokens)
        texts = self.encode.tokenizer.batch_decode(new, skip_special_tokens=True)
        cut = (~torch.isin(new, self.ends).any(dim=1)).view(-1, num_samples)  # (photos, num_samples)
        return [
            Reply(
                img_id,
                tuple(texts[number * num_samples : (number + 1) * num_samples]),
                cut=tuple(cut[number].nonzero().flatten().tolist()),
            )
            for number, img_id in enumerate(photos)
        ]

    def _prefill(self, inputs: Mapping[str, Tensor], num_samples: int) -> Cache:
        """Photo and question, but for the prompt's last token, computed once, kept ``num_samples`` times."""
        prompt = {name: values[:, :-1] if name in PER_TOKEN else values for name, values in inputs.items()}
        qwen = isinstance(self.encode, QwenEncoder)
        if not qwen:  # Qwen-VLs count positions by themselves; others would count the padding in
            prompt["position_ids"] = (prompt["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        backbone = self.model.base_model
        cache = backbone(**prompt, use_cache=True).past_key_values
        photos = torch.arange(len(prompt["input_ids"]), device=self.model.device)
        cache.reorder_cache(photos.repeat_interleave(num_samples))  # recurrent layers' caches know no other way
        if qwen:
            # How far the positions of a row lag behind its tokens, since an image takes fewer of them.
            backbone.rope_deltas = backbone.rope_deltas.repeat_interleave(num_samples, dim=0)
        return cache


def ask_local(
    model: LocalModel,
    image_ids: Iterable[str],
    store: ImageStore,
    batch_size: int = 8,
    **sampling: float,
) -> Iterator[Reply]:
    """Ask ``model`` about photos, ``batch_size`` at a time; ``sampling`` goes to ``LocalModel.replies``.

    Where that is too many for the GPU's memory, half as many from then on; a photo that does not fit even alone has a
    problem instead of answers.
    """
    image_ids = iter(image_ids)
    while batch := list(islice(image_ids, batch_size)):

        def ask(start: int, stop: int, batch: Sequence[str] = batch) -> list[Reply]:
            nonlocal batch_size
            photos, problems = {}, []
            for img_id in batch[start:stop]:
                try:
                    photos[img_id] = store.open(img_id)
                except ImageError as error:
                    problems.append(Reply(img_id, problem=str(error)))
            try:
                replies = model.replies(photos, **sampling) if photos else []
            except torch.OutOfMemoryError:
                batch_size = min(batch_size, (stop - start + 1) // 2)
                raise
            return problems + replies

        for start, _, replies in in_halves(ask, 0, len(batch), "photos"):
            yield from replies or [Reply(batch[start], problem=f"{batch[start]}: does not fit into memory")]
