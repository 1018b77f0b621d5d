"""What vLLM does with a converted checkpoint and a request, by stock transformers: the oracle of tests without vLLM."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from tests.loopback import Response


class StandIn:
    """A checkpoint folder read as vLLM reads it: weights by the hub's names, one label, chat template, processor."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.backbone = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        (head,) = (tensor for name, tensor in load_file(folder / "model.safetensors").items() if "score" in name)
        self.head = head
        (self.label,) = self.config["id2label"].values()

    def prompt_ids(self, messages: list[dict[str, Any]], photos: list[Image.Image]) -> tuple[torch.Tensor, dict]:
        """Token ids (1, length) of the chat template's text, with as many placeholders as each photo has tokens."""
        for message in messages:
            parts = [part if part["type"] == "text" else {"type": "image"} for part in message["content"]]
            messages = [message | {"content": parts}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        pixels = self.processor(images=photos, return_tensors="pt") if photos else {}
        head, *rest = text.split("<|image_pad|>")
        for grid, piece in zip(pixels.get("image_grid_thw", ()), rest, strict=True):
            head += "<|image_pad|>" * (int(grid.prod()) // self.processor.merge_size**2) + piece
        return self.tokenizer(head, add_special_tokens=False, return_tensors="pt")["input_ids"], dict(pixels)

    @torch.inference_mode()
    def reward(self, messages: list[dict[str, Any]]) -> float:
        (message,) = messages
        urls = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
        photos = [Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))) for url in urls]
        ids, pixels = self.prompt_ids(messages, [photo.convert("RGB") for photo in photos])
        hidden = self.backbone(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == self.backbone.config.image_token_id).int(),
            **pixels,
        ).last_hidden_state
        return float(hidden[0, -1] @ self.head[0])

    def respond(self, body: dict[str, Any], number: int) -> Response:
        """The answer of ``/classify``."""
        assert body["add_generation_prompt"] is True
        assert body["use_activation"] is False
        return classification(self.reward(body["messages"]), self.label)


def classification(reward: float, label: str | None) -> Response:
    """An answer of vLLM 0.32's ``/classify``."""
    item = {"index": 0, "label": label, "probs": [reward], "num_classes": 1}
    usage = {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": None}
    return Response(
        200, {"id": "classify-0", "object": "list", "created": 0, "model": "m", "data": [item], "usage": usage}
    )
