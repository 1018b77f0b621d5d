"""Galleries of several sizes, nested, each searched and ranked: the measuring of ``scaling``."""

import argparse
import hashlib
import json
import logging
import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from earth.recipe import COMPONENTS, SPLITS, TOPK, TOPN
from earth.world import places
from earth.world.imagery import load_earth
from earth.world.splits import draw, read_centres, shots, write_gallery, write_metadata
from utils.candidates import Query
from utils.evaluation.cases import Case
from utils.evaluation.metrics import summary
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_benchmark
from utils.geo_ranker import GeoRanker
from utils.geography.nearest import nearest_km
from utils.jobs.files import write_json
from utils.model.adapter_info import AdapterInfo
from utils.model.budget import MAX_TOKENS
from utils.model.features import EncodedPhotos
from utils.model.fingerprints import fingerprint, weights_hash
from utils.photos.store import ImageStore
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import Gallery, retrieval_rows
from utils.retrieval.gallery_embeddings import gallery_embeddings
from utils.tables.candidate_table import read_candidate_table, write_candidate_table
from utils.tables.join import FoundPhotos, candidate_rows, generated_places
from utils.tables.metadata import metadata_problems, read_metadata

logger = logging.getLogger(__name__)

PART = 20_000  # further tiles that are drawn and embedded together
RANKERS = (
    "retrieval",
    "consensus_equal",
    "similarity",
    "model",
    "model_consensus",
    "model_fused_consensus",
    "oracle",
)


@dataclass(frozen=True)
class World:
    """A gallery and the test photos."""

    gallery: pd.DataFrame  # metadata, as read_metadata returns it
    tiles: np.ndarray  # (tiles, d) embeddings
    tile_store: ImageStore
    queries: pd.DataFrame
    photos: np.ndarray  # (queries, d)
    photo_store: ImageStore


def digest_of_world(data: Path, seed: int) -> str:
    """SHA-256 of gallery and test photos, and of the seed that further tiles are drawn with."""
    digest = hashlib.sha256(str(seed).encode())
    for split in ("gallery", "test"):
        digest.update((data / split / "metadata.csv").read_bytes())
    return digest.hexdigest()


def further_folders(work: Path, count: int) -> list[Path]:
    """Folders of the parts that hold ``count`` further tiles."""
    return [work / f"further-{part}" for part in range(math.ceil(max(count, 0) / PART))]


def draw_further(data: Path, folders: Sequence[Path], seed: int, workers: int) -> None:
    """Fill those of ``folders`` that are not complete with ``PART`` further tiles each, as the gallery was drawn."""
    if all((folder / "metadata.csv").exists() for folder in folders):
        return
    earth = load_earth()
    town_points = places.towns(earth, np.random.default_rng(seed))
    # Not those of the calibration photos: tiles are the same whether those are built or not.
    taken = {centre for split in SPLITS for centre in read_centres(data / split)}
    for part, folder in enumerate(folders):
        if (folder / "metadata.csv").exists():
            taken.update(read_centres(folder))
            continue
        source = shots(town_points, len(SPLITS) + part, seed, taken, is_photo=False)
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            centres, pictures = draw(pool, workers, source, taken, PART, folder.name)
        ids = [f"further_{part}_{i:06d}.jpg" for i in range(PART)]
        write_gallery(folder, ids, pictures)
        write_metadata(folder / "metadata.csv", ids, np.array(centres))


def open_world(args: argparse.Namespace, work: Path, size: int) -> tuple[World, list[str]]:
    """The world with ``size`` tiles, and what of it could not be used. Further tiles have been drawn into ``work``."""
    built = Gallery(args.data / "gallery" / "index")
    built.check_model(args.model)
    gallery = built.parts[0]  # not what was added to it: further tiles are the same whatever was
    further = further_folders(work, size - len(gallery.metadata))
    folders = [args.data / "gallery", *further]
    tables = [gallery.metadata, *(read_metadata(folder / "metadata.csv") for folder in further)]
    problems = []

    def embed(folder: Path, table: pd.DataFrame, store: ImageStore) -> np.ndarray:
        vectors, unreadable = gallery_embeddings(
            folder, args.model, table["IMG_ID"].tolist(), store, built.info.dtype, args.device
        )
        problems.extend(unreadable)
        return vectors

    embeddings = [gallery.embeddings]
    for folder, table in zip(further, tables[1:], strict=True):
        embeddings.append(embed(folder / "embeddings", table, ImageStore.from_paths([folder / "images.tar"])))
    queries = read_metadata(args.data / "test" / "metadata.csv")[: args.queries]
    problems += metadata_problems(args.data / "test" / "metadata.csv", queries)
    photo_store = ImageStore.from_paths([args.data / "test" / "images"])
    photos = embed(work / "photos", queries, photo_store)
    usable = (queries["LAT"].notna() & ~np.isnan(photos[:, 0])).to_numpy()
    world = World(
        pd.concat(tables, ignore_index=True)[:size],
        np.concatenate(embeddings)[:size],
        ImageStore.from_paths([folder / "images.tar" for folder in folders]),
        queries[usable].reset_index(drop=True),
        photos[usable],
        photo_store,
    )
    return world, problems


def find_candidates(world: World, data: Path, topn_zs: int, path: Path) -> tuple[list[Query], list[str]]:
    """The queries with what the gallery has for them, by way of a candidate table at ``path``."""
    index = ExactIndex.build(world.tiles, COMPONENTS, world.gallery["LAT"].notna().to_numpy())
    found, _ = index.search(world.photos, TOPK)
    cosines = np.einsum("nd,nkd->nk", world.photos, world.tiles[found])
    generated, _, problems = generated_places(data / "test" / "generation.csv") if topn_zs else ({}, 0, [])
    retrieved = retrieval_rows(world.queries, world.gallery, found, found[:, :0])
    write_candidate_table(path, candidate_rows(retrieved, FoundPhotos.of(found, world.gallery), cosines, generated))
    queries, unusable = read_candidate_table(path, TOPN, topn_zs)
    return queries, problems + unusable


def rank(ranker: GeoRanker, world: World, queries: Sequence[Query], log: RewardLog) -> tuple[list[Case], list[str]]:
    """The queries with their rewards, from ``log`` where it has them; a query that lost a candidate is left out."""
    rewards = {number: found for number, query in enumerate(queries) if (found := log.get(query)) is not None}
    remaining = {number: query for number, query in enumerate(queries) if number not in rewards}
    photos = EncodedPhotos(world.photo_store, ranker.packer), EncodedPhotos(world.tile_store, ranker.candidate_packer)
    scored, problems = score_benchmark(ranker, remaining, *photos, log, max_tokens=MAX_TOKENS)
    rewards |= {number: row for number, row in scored.items() if not np.isnan(row).any()}
    cases = [Case(queries[number], rewards[number]) for number in sorted(rewards)]
    return cases, [problem.message for problem in problems]


def measure(cases: Sequence[Case], ranker: GeoRanker, gallery: np.ndarray) -> dict:
    """What is known of one gallery (tiles, 2) [latitude, longitude], ready for JSON.

    ``nearest_gallery`` is the great-circle distance to the nearest tile: what perfect retrieval and ranking reach.
    """
    info = ranker.info
    picks = ranker_picks(cases, temperature=info.temperature, similarity_weight=info.similarity_weight)
    report = build_report(cases, picks, prediction="model", temperature=info.temperature)
    truths = [(case.query.latitude, case.query.longitude) for case in cases]
    return {
        "num_queries": report["num_queries"],
        "rankers": {name: report["rankers"][name] for name in RANKERS}
        | {"nearest_gallery": summary(nearest_km(truths, gallery))},
        "paired_differences": report["paired_differences"]["model"],
        "calibration_error": report["calibration_error"],
    }


def made_of(args: argparse.Namespace) -> dict:
    """What a result depends on beside the size of the gallery."""
    with open(args.model_path / "adapter_model.safetensors", "rb") as file:
        adapter = hashlib.file_digest(file, "sha256").hexdigest()
    info = AdapterInfo.load(args.model_path)
    return {
        "base": weights_hash(args.model),
        "adapter": adapter,
        "temperature": info.temperature,
        "similarity_weight": info.similarity_weight,
        "world": digest_of_world(args.data, args.seed),
        "queries": args.queries,
        "topn": TOPN,
        "topn_zs": args.topn_zs,
        "components": COMPONENTS,
    }


def scale(args: argparse.Namespace) -> list[str]:
    """Measure the sizes that the result lacks. Returns what could not be used."""
    result = {"made_of": made_of(args), "sizes": []}
    if args.output.exists():
        known = json.loads(args.output.read_text(encoding="utf-8"))
        if known["made_of"] == result["made_of"]:
            result = known
        else:
            logger.warning("%s is of other weights or settings: all sizes are measured again", args.output)
    missing = sorted(set(args.sizes) - {entry["gallery"] for entry in result["sizes"]})
    if not missing:
        print(f"{args.output} has all sizes")
        return []
    built = len(read_metadata(args.data / "gallery" / "metadata.csv"))
    # Before the model's threads start, since drawing forks.
    work = args.run_dir / result["made_of"]["world"][:12]
    draw_further(args.data, further_folders(work, missing[-1] - built), args.seed, args.workers)
    ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
    scorer = fingerprint(args.model, args.model_path, ranker.info, {"device": args.device})
    problems: dict[str, None] = {}  # in order, and what all sizes share once
    for size in missing:
        world, unusable = open_world(args, work, size)
        folder = work / f"gallery-{size}"
        queries, dropped = find_candidates(world, args.data, args.topn_zs, folder / "candidates.csv")
        with RewardLog(folder, scorer) as log:
            cases, lost = rank(ranker, world, queries, log)
        problems |= dict.fromkeys(unusable + dropped + lost)
        entry = {"gallery": size} | measure(cases, ranker, world.gallery[["LAT", "LON"]].dropna().to_numpy())
        result["sizes"] = sorted([*result["sizes"], entry], key=lambda entry: entry["gallery"])
        write_json(args.output, result)
        print_entry(entry)
    print(f"{args.output}: {len(result['sizes'])} sizes")
    return list(problems)


def print_entry(entry: dict) -> None:
    print(f"{entry['gallery']:,} tiles, % within 25 / 200 / 750 km, {entry['num_queries']} queries")
    for name, figures in entry["rankers"].items():
        print(f"  {name:22}" + " / ".join(f"{figures['accuracy'][key]:5.1f}" for key in ("25", "200", "750")))
