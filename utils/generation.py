"""Places guessed by an LVLM: a local Qwen-VL checkpoint, or any server with an OpenAI-compatible API.

Both are asked ``GENERATION_PROMPT`` about one photo and give several answers, word for word;
``utils/answers.py`` reads the coordinates in them.
"""

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import openai
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
from utils.packing import IMAGE_TOKEN
from utils.prompts import GENERATION_PROMPT


@dataclass(frozen=True)
class Reply:
    """What came back for one photo: answers, or the problem that kept them away."""

    img_id: str
    answers: tuple[str, ...] = ()
    problem: str | None = None


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
    """Ask ``model`` about photos, ``batch_size`` at a time; ``sampling`` goes to ``LocalModel.answers``."""
    for start in range(0, len(image_ids), batch_size):
        photos = {}
        for img_id in image_ids[start : start + batch_size]:
            try:
                photos[img_id] = store.open(img_id)
            except ImageError as error:
                yield Reply(img_id, problem=str(error))
        if photos:
            for img_id, answers in zip(photos, model.answers(photos, **sampling), strict=True):
                yield Reply(img_id, answers)


class ApiModel:
    """A model behind an OpenAI-compatible server; all answers are sampled. Its key never enters a message."""

    def __init__(
        self,
        name: str,
        api_key: str | None = None,
        base_url: str | None = None,
        num_samples: int = 10,
        temperature: float = 1.2,
        max_tokens: int = 200,
        max_retries: int = 5,
    ) -> None:
        """``api_key`` and ``base_url`` default to OPENAI_API_KEY and OPENAI_BASE_URL of the environment.

        Raises ``openai.OpenAIError`` when there is no key.
        """
        self.client = openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=max_retries)
        self.name = name
        self.settings = {"n": num_samples, "temperature": temperature, "max_tokens": max_tokens}

    def answers(self, image: Image.Image) -> tuple[str, ...]:
        """The answers about an RGB photo. Raises ``openai.OpenAIError`` when the server gives none."""
        file = io.BytesIO()
        image.save(file, "JPEG", quality=95)
        url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        content = [
            {"type": "text", "text": GENERATION_PROMPT},
            {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        ]
        completion = self.client.chat.completions.create(
            model=self.name, messages=[{"role": "user", "content": content}], **self.settings
        )
        # A refusal has no content.
        answers = tuple(choice.message.content for choice in completion.choices if choice.message.content)
        if not answers:
            raise openai.OpenAIError("the server gave no answer")
        return answers

    def explain(self, error: openai.OpenAIError) -> str:
        """What went wrong, without the key, which some servers repeat in their messages."""
        return f"{type(error).__name__}: {error}".replace(self.client.api_key, "[key]")


# Errors that every further request would meet as well.
HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


def ask_api(model: ApiModel, image_ids: Sequence[str], store: ImageStore, workers: int = 8) -> Iterator[Reply]:
    """Ask ``model`` about photos, ``workers`` requests at a time; replies come in the order they arrive.

    Raises ``RuntimeError`` when the server refuses key or model, instead of asking it about every photo.
    """

    def ask(img_id: str) -> Reply:
        try:
            return Reply(img_id, model.answers(store.open(img_id)))
        except ImageError as error:
            return Reply(img_id, problem=str(error))
        except HOPELESS as error:
            raise RuntimeError(model.explain(error)) from None
        except openai.OpenAIError as error:
            return Reply(img_id, problem=f"{img_id}: {model.explain(error)}")

    pool = ThreadPoolExecutor(workers)
    try:
        futures: list[Future[Reply]] = [pool.submit(ask, img_id) for img_id in image_ids]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class Journal:
    """The answers so far, one JSON line a photo, written as they come: an interrupted run goes on from here.

    The first line says how the model was asked. Raises ``ValueError`` when a journal of other settings is
    there.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object]) -> None:
        self.path = Path(path)
        self.answers: dict[str, list[str]] = {}
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(dict(settings))
            return
        data = self.path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        if len(complete) < len(data):  # the run stopped while it wrote this line
            os.truncate(self.path, len(complete))
        lines = [json.loads(line) for line in complete.splitlines()]
        if not lines:
            self._write(dict(settings))
            return
        if lines[0] != settings:
            raise ValueError(
                f"{self.path} was made with other settings, {lines[0]}: remove it, or write to another --result_path"
            )
        self.answers = {line["IMG_ID"]: line["response"] for line in lines[1:]}

    def add(self, img_id: str, answers: Sequence[str]) -> None:
        self.answers[img_id] = list(answers)
        self._write({"IMG_ID": img_id, "response": list(answers)})

    def _write(self, line: Mapping[str, object]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
