"""The settings of the ablation queue (``earth/studies/ablations.py``): the paper's questions, most telling first.

Every setting is the same training command with a few flags changed, and an evaluation with its number of candidates.
Beside it stands what the paper reports for the same change, where it does: its accuracy on IM2GPS3K minus that of its
full system (2505.13731, ablation table).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from earth.recipe import TOPN, TOPN_ZS

# README's Earth command, but that one process prepares its own batches, and that the warm-up is a share of the steps.
TRAINING = {
    "group_size": "10",
    "hard_pool": "12",
    "generated": "3",
    "easy_share": "0.2:0",
    "prompt_layout": "negatives_first",
    "lambda1": "0.7",
    "K": "1",
    "lora_r": "32",
    "lora_dropout": "0",
    "total_batch_size": "16",
    "per_device_train_batch_size": "16",
    "learning_rate": "3e-4",
    "lr_scheduler_type": "cosine",
    "warmup_steps": "0.1",
    "num_samples": "6000",
    "attn_implementation": "eager",
    "num_workers": "0",
    "save_strategy": "no",
    "logging_steps": "25",
}


@dataclass(frozen=True)
class Setting:
    """One thing that is done differently."""

    name: str
    question: str  # what the settings with the same text answer together
    flags: Mapping[str, str] = field(default_factory=dict)  # of the training that differ from TRAINING
    length: int = 1  # steps, in budgets
    topn: int = TOPN  # candidates of a test query
    topn_zs: int = TOPN_ZS
    paper: tuple[float, float] | None = None  # the paper's difference within 25 and 200 km, points

    @property
    def training(self) -> str:
        """A name for the training: settings with the same one share their adapters."""
        changes = [f"{name}={value}" for name, value in self.flags.items()]
        return ",".join(changes + [f"length={self.length}"] * (self.length > 1)) or "baseline"


BASELINE = Setting("baseline", "baseline")
SETTINGS = (
    BASELINE,
    Setting("first_order_only", "second-order loss", {"lambda1": "1"}, paper=(-0.44, -0.53)),
    Setting("no_images", "candidate images", {"omit": "images"}, paper=(-3.28, -2.34)),
    Setting("no_negatives", "negatives", {"omit": "negatives"}, paper=(-0.54, -0.67)),
    Setting("no_texts", "place texts", {"omit": "texts"}),
    Setting("no_generated", "generated candidates", {"generated": "0"}, topn_zs=0, paper=(-1.58, -1.80)),
    Setting("published_layout", "prompt layout", {"prompt_layout": "published"}),
    Setting("lambda_0", "lambda", {"lambda1": "0"}),
    Setting("lambda_0.3", "lambda", {"lambda1": "0.3"}),
    Setting("lambda_0.5", "lambda", {"lambda1": "0.5"}),
    Setting("K_3", "K", {"K": "3"}),
    Setting("K_all", "K", {"K": "all"}),
    Setting("group_size_4", "group size", {"group_size": "4", "generated": "1"}),
    Setting("group_size_7", "group size", {"group_size": "7", "generated": "2"}),
    Setting("group_size_12", "group size", {"group_size": "12"}),
    Setting("lora_r_4", "LoRA rank", {"lora_r": "4"}),
    Setting("lora_r_16", "LoRA rank", {"lora_r": "16"}),
    Setting("lora_r_64", "LoRA rank", {"lora_r": "64"}),
    Setting("candidates_5", "candidates at test time", topn=5),
    Setting("candidates_8", "candidates at test time", topn=8),
    # Beyond 15 of the 20 retrieved ones, candidates are among the prompt's negatives, which are always the last five.
    Setting("candidates_16", "candidates at test time", topn=16),
    Setting("candidates_20", "candidates at test time", topn=20),
    Setting("rows_750", "training rows", {"num_samples": "750"}),
    Setting("rows_1500", "training rows", {"num_samples": "1500"}),
    Setting("rows_3000", "training rows", {"num_samples": "3000"}),
    Setting("steps_x4", "training steps", length=4),
)
