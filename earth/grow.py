"""Give the tiny LVLM's language model twice the layers and MLPs of twice the width, and change nothing that it says.

    python -m earth.grow --output_dir runs/earth-8m
    python -m earth.pretrain_language --model runs/earth-8m --output_dir runs/earth-8m-taught --run runs/language-8m

Pretraining a larger model from nothing takes a day of CPU time. A grown one starts where the small one is: what is new
adds nothing at first, and learns to. Before every layer comes a copy of it whose two output projections are zero (as
"LLaMA Pro" has it, 2401.02415), and the new half of every MLP is random with a down projection of zero (as
function-preserving growth of width, "Net2Net", 1511.05641, but without copies, which would have to be told apart).
"""

import argparse
import copy
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth import lvlm
from utils.command import run_command

FACTOR = 2  # of layers and of MLP width
OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")  # by which a layer adds to what passes through it


def grow(model: Qwen2VLForConditionalGeneration) -> Qwen2VLForConditionalGeneration:
    """A model of ``FACTOR`` times the layers and MLP width that computes the same; call ``torch.manual_seed`` first."""
    config = copy.deepcopy(model.config)
    text = config.text_config
    text.num_hidden_layers *= FACTOR
    text.intermediate_size *= FACTOR
    text.layer_types = [kind for kind in text.layer_types for _ in range(FACTOR)]
    grown = Qwen2VLForConditionalGeneration(config)
    grown.generation_config = model.generation_config

    rest = {name: own for name, own in model.state_dict().items() if ".language_model.layers." not in name}
    grown.load_state_dict(rest, strict=False)  # the layers follow
    small, large = (each.model.language_model.layers for each in (model, grown))
    with torch.no_grad():
        for number, layer in enumerate(large):
            is_new = (number + 1) % FACTOR != 0
            for name, weights in layer.named_parameters():
                if name == "mlp.down_proj.weight":
                    weights.zero_()
                kept = small[number // FACTOR].get_parameter(name)
                weights[tuple(map(slice, kept.shape))] = kept
                if is_new and name in OUTPUTS:
                    weights.zero_()
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=Path("checkpoints/earth-base"), help="the small model (%(default)s)")
    add("--output_dir", type=Path, required=True, help="where the large one goes")
    add("--seed", type=int, default=0, help="of the new weights (%(default)s)")
    args = parser.parse_args()
    if args.output_dir.resolve() == args.model.resolve():
        parser.error(f"--output_dir {args.output_dir} would replace the small model")

    def start() -> list[str]:
        torch.manual_seed(args.seed)
        small = Qwen2VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
        grown = grow(small)
        lvlm.save(grown, AutoTokenizer.from_pretrained(args.model), args.output_dir)
        sizes = (sum(own.numel() for own in model.parameters()) / 1e6 for model in (small, grown))
        print("{:.2f} M parameters became {:.2f} M: {}".format(*sizes, args.output_dir))
        return []

    return run_command(start)


if __name__ == "__main__":
    raise SystemExit(main())
