import numpy as np
import pytest
import torch

from earth.lvlm import model as lvlm
from earth.recipe import TILE_PIXELS
from utils.model.prompts import GENERATION_PROMPT


@pytest.fixture(scope="session")
def tokenizer():
    places = [f"How far is this place from latitude: {n}.5, longitude: -{n}.25, Town{n}?" for n in range(3000)]
    return lvlm.train_tokenizer([GENERATION_PROMPT, *places] * 2)


@pytest.fixture(scope="session")
def model(tokenizer):
    torch.manual_seed(0)
    return lvlm.build_model(tokenizer).eval()


@pytest.fixture
def tiles() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, TILE_PIXELS, TILE_PIXELS, 3), dtype=np.uint8)
