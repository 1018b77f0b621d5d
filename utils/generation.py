"""Places guessed by a vision-language model on this machine; ``utils/api.py`` asks one behind a server.

Both are asked ``GENERATION_PROMPT`` about one photo and give several answers, word for word;
``utils/answers.py`` reads the coordinates in them.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence

import torch
from PIL import Image
from torch import FloatTensor, LongTensor
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    BaseImageProcessor,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from utils.images import ImageError, ImageStore
from utils.journal import Reply
from utils.packing import IMAGE_TOKEN
from utils.prompts import GENERATION_PROMPT


class SeededSampling(LogitsProcessor):
    """Makes greedy search sample: the largest of ``logits + temperature * Gumbel noise`` is a draw from
    ``softmax(logits / temperature)`` (Gumbel-max trick).

    Each row draws from a generator of its own, so its answer depends neither on the other rows of a batch nor
    on where an interrupted run went on. A row whose generator is None stays greedy.
    """

    def __init__(self, temperature: float, generators: Sequence[torch.Generator | None]) -> None:
        self.temperature = temperature
        self.generators = generators

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        noise = torch.zeros(scores.shape, dtype=torch.float64)  # (rows, vocabulary)
        for row, generator in zip(noise, self.generators, strict=True):
            if generator is not None:
                row.uniform_(generator=generator).clamp_(
                    min=torch.finfo(torch.float64).tiny
                ).log_().neg_().log_().neg_()
        return scores + (self.temperature * noise).to(scores)


def answer_generator(seed: int, img_id: str, number: int) -> torch.Generator:
    """The random numbers of answer ``number`` about a photo."""
    digest = hashlib.sha256(f"{seed} {number} {img_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class LocalModel:
    """A checkpoint on this machine. The first answer is greedy, the others are sampled."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, image_processor: BaseImageProcessor
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    @classmethod
    def from_pretrained(
        cls, base: str | os.PathLike, dtype: str | torch.dtype = "auto", device: str | torch.device = "cpu"
    ) -> "LocalModel":
        """Load a Qwen-VL checkpoint folder or hub name; ``dtype`` "auto" is that of the checkpoint.

        Raises ``ValueError``, naming the tensors, when the checkpoint lacks weights of the model.
        """
        model, loading = AutoModelForImageTextToText.from_pretrained(base, dtype=dtype, output_loading_info=True)
        if missing := sorted(loading["missing_keys"]):
            raise ValueError(f"checkpoint {base} does not fit {type(model).__name__}: missing tensors {missing}")
        return cls(
            model.to(device),
            AutoTokenizer.from_pretrained(base),
            AutoImageProcessor.from_pretrained(base, backend="pil"),
        )

    @torch.inference_mode()
    def answers(
        self,
        photos: Mapping[str, Image.Image],
        num_samples: int = 10,
        temperature: float = 1.2,
        seed: int = 0,
        max_tokens: int = 200,
    ) -> list[tuple[str, ...]]:
        """``num_samples`` answers about each of ``photos`` (RGB, by id), all in one batch."""
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": GENERATION_PROMPT}]}
        prompt = self.tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
        images = self.image_processor(images=list(photos.values()), return_tensors="pt")
        grids = images["image_grid_thw"]  # (photos, 3)
        patches = grids.prod(-1)
        tokens = patches // self.image_processor.merge_size**2
        prompts = [prompt.replace(IMAGE_TOKEN, IMAGE_TOKEN * count) for count in tokens.tolist()]

        # A photo's answers are rows of the batch: photo 0 answer 0, photo 0 answer 1, ...
        text = self.tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
        input_ids = text["input_ids"].repeat_interleave(num_samples, dim=0)  # (rows, length)
        attention_mask = text["attention_mask"].repeat_interleave(num_samples, dim=0)
        pixels = images["pixel_values"].split(patches.tolist())
        image_token = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        generators = [
            answer_generator(seed, img_id, number) if number else None
            for img_id in photos
            for number in range(num_samples)
        ]
        device = self.model.device
        output = self.model.generate(
            input_ids=input_ids.to(device),
            attention_mask=attention_mask.to(device),
            mm_token_type_ids=(input_ids == image_token).long().to(device),
            pixel_values=torch.cat([photo for photo in pixels for _ in range(num_samples)]).to(device),
            image_grid_thw=grids.repeat_interleave(num_samples, dim=0).to(device),
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
        texts = self.tokenizer.batch_decode(output[:, input_ids.shape[1] :], skip_special_tokens=True)
        return [tuple(texts[start : start + num_samples]) for start in range(0, len(texts), num_samples)]


def ask_local(
    model: LocalModel,
    image_ids: Sequence[str],
    store: ImageStore,
    batch_size: int = 8,
    **sampling: float,
) -> Iterator[Reply]:
    """Ask ``model`` about photos, ``batch_size`` at a time; ``sampling`` goes to ``LocalModel.answers``.

    Where that is too many for the GPU's memory, half as many from then on.
    """
    start = 0
    while start < len(image_ids):
        photos, problems = {}, []
        batch = image_ids[start : start + batch_size]
        for img_id in batch:
            try:
                photos[img_id] = store.open(img_id)
            except ImageError as error:
                problems.append(Reply(img_id, problem=str(error)))
        try:
            answers = model.answers(photos, **sampling) if photos else []
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = (batch_size + 1) // 2
            torch.cuda.empty_cache()
            continue
        yield from problems
        for img_id, given in zip(photos, answers, strict=True):
            yield Reply(img_id, given)
        start += len(batch)
