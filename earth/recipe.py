"""Numbers and places that several parts of the embedded world share: what one of them makes, the others count on."""

from pathlib import Path

from utils.data_paths import BENCHMARKS

DEFAULT_DIR = Path("dataset/earth")  # the built benchmark
BASE = Path(BENCHMARKS["earth"].model)  # the tiny vision-language model
ADAPTER = Path(BENCHMARKS["earth"].model_path)  # of the ranker

SPLITS = ("gallery", "pretrain", "train", "val", "test")
SPLIT_SIZES = (20_000, 14_000, 6_000, 500, 1_000)  # pictures of each split
CALIBRATION_SPLITS = ("calibration", "check")  # further query photos, built on demand
# Number of the random stream that a split is drawn from. Those from len(SPLITS) on belong to the further gallery tiles
# of earth.studies.gallery_sizes.
STREAMS = {split: number for number, split in enumerate(SPLITS)} | {"calibration": 1000, "check": 1001}

# A picture, and what the tower makes of it.
TILE_PIXELS = 64  # height and width of a tile or photo
PATCH_PIXELS = 8
MERGE = 2  # rows and columns of patches that become one image token
TILE_GRID = (1, TILE_PIXELS // PATCH_PIXELS, TILE_PIXELS // PATCH_PIXELS)  # frames, rows and columns of patches
PATCHES = TILE_GRID[1] * TILE_GRID[2]
GRID = TILE_GRID[1] // MERGE  # rows and columns of image tokens
TOKENS = GRID**2

# Candidates of a query.
COMPONENTS = 8  # of the index that finds them, as in the README's command
TOPK = 20  # that the index finds
TOPN, TOPN_ZS = 12, 3  # retrieved and generated ones that evaluation ranks, as published
