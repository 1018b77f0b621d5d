"""G3's image encoder, from its released ``g3.pth``: CLIP's vision tower and three projections (G3 paper, section 3.2).

The released index compares the inner product of three unit vectors side by side: the projected CLIP embedding, and
what two small networks make of it to resemble texts and coordinates. Here they are scaled by 1 / sqrt(3) together, so
that an embedding has length 1 and the inner product is the mean of three cosines; the order of photos is the same.
"""

import os

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from utils.jobs.reading import one_line
from utils.model.checkpoint import check_tensors
from utils.model.device import placed
from utils.retrieval.encoders import Encoder, to_device
from utils.retrieval.state_files import check_numbers, read_state

# Parts of the file that embed photos. The others, for texts and coordinates, are left where they are.
PARTS = ("vision_model.", "vision_projection.", "vision_projection_else_1.", "vision_projection_else_2.")
POSITIONS = "vision_model.embeddings.position_ids"  # 0, 1, 2, ...: older transformers saved them as well
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HEAD_WIDTH = 64  # of every CLIP; the number of heads cannot be seen in the weights


class G3Vision(nn.Module):
    """The modules of ``PARTS`` by their released names, of sizes read off a state dict ``weights``."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        hidden, channels, patch, _ = weights["vision_model.embeddings.patch_embedding.weight"].shape
        positions = len(weights["vision_model.embeddings.position_embedding.weight"])
        layers = {name.split(".")[3] for name in weights if name.startswith("vision_model.encoder.layers.")}
        width = len(weights["vision_projection.weight"])
        self.vision_model = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=hidden,
                intermediate_size=len(weights["vision_model.encoder.layers.0.mlp.fc1.weight"]),
                num_hidden_layers=len(layers),
                num_attention_heads=hidden // HEAD_WIDTH,
                num_channels=channels,
                image_size=patch * round((positions - 1) ** 0.5),  # one position is the class token's
                patch_size=patch,
                hidden_act="quick_gelu",
            )
        )
        self.vision_projection = nn.Linear(hidden, width, bias="vision_projection.bias" in weights)
        self.vision_projection_else_1 = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.vision_projection_else_2 = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(n, 3, height, width) -> (n, 3 * width) float32, rows of length 1."""
        projected = self.vision_projection(self.vision_model(pixel_values).pooler_output)
        views = (projected, self.vision_projection_else_1(projected), self.vision_projection_else_2(projected))
        units = [nn.functional.normalize(view.float(), dim=-1) for view in views]
        return torch.cat(units, dim=-1) / len(units) ** 0.5


def read_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of ``PARTS`` in a state dict. Raises ``ValueError``, naming the file, where it is none or damaged."""
    state = read_state(path)
    own = {name: tensor for name, tensor in state.items() if str(name).startswith(PARTS) and name != POSITIONS}
    return check_numbers(path, own)


class G3Encoder(Encoder):
    """Embeds photos with G3's retrieval encoder; see ``G3Vision``."""

    def __init__(self, vision: G3Vision) -> None:
        self.vision = vision.eval()
        self.dimension = 3 * vision.vision_projection.out_features
        size = vision.vision_model.config.image_size
        # As in preprocessor_config.json of openai/clip-vit-large-patch14, whose size is 224.
        self.image_processor = CLIPImageProcessorPil(
            do_convert_rgb=True,
            do_resize=True,
            size={"shortest_edge": size},
            resample=PILImageResampling.BICUBIC,
            do_center_crop=True,
            crop_size={"height": size, "width": size},
            do_rescale=True,
            do_normalize=True,
            image_mean=OPENAI_CLIP_MEAN,
            image_std=OPENAI_CLIP_STD,
        )

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike, dtype: str = "auto", device: str | torch.device = "cpu"
    ) -> "G3Encoder":
        """Read ``path``, a state dict; ``dtype`` "auto" is that of its weights.

        Raises ``ValueError``, naming the file, when it is none, or listing the tensors of ``PARTS`` that are missing,
        left over or of another shape.
        """
        weights = read_weights(path)
        try:
            with torch.device("meta"):
                own = {name: tensor.shape for name, tensor in G3Vision(weights).state_dict().items()}
        except KeyError as error:
            raise ValueError(f"{path} lacks the tensor {error.args[0]} of G3's image encoder") from error
        except (IndexError, TypeError, ValueError, ArithmeticError) as error:  # tensors of no or of wrong axes
            raise ValueError(f"{path} does not fit G3's image encoder: {one_line(error)}") from error
        check_tensors(f"{path} does not fit G3's image encoder", weights, own)
        vision = G3Vision(weights)
        own_dtype = weights["vision_projection.weight"].dtype
        vision.to(own_dtype if dtype == "auto" else DTYPES[dtype]).load_state_dict(weights)
        return cls(placed(vision, device))

    @torch.inference_mode()
    def embed(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """See ``Encoder``; ``pixel_values`` (n, 3, height, width)."""
        (pixel_values,) = to_device(inputs, self.vision.vision_projection.weight.device).values()
        return self.vision(pixel_values).cpu().numpy()
