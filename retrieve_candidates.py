"""Find the gallery photos most similar to each query photo.

    python retrieve_candidates.py build --gallery dataset/earth/gallery/metadata.csv \\
        --image_data_path dataset/earth/gallery/images.tar --model checkpoints/earth-base \\
        --index dataset/earth/gallery/index --components 8
    python retrieve_candidates.py search --index dataset/earth/gallery/index \\
        --queries dataset/earth/test/metadata.csv --image_path dataset/earth/test/images \\
        --output_dir dataset/earth/test

`build` embeds the gallery with the vision tower of a Qwen-VL checkpoint, once (embeddings.npy in the index
folder), and indexes the embeddings or their first principal components. `search` writes into --output_dir

    retrieval.csv   the retrieval table: coordinates of the most and least similar photos of each query
    I.npy           (queries, topk) row numbers in the gallery's metadata table, best first
    D.npy           their scores, higher is better: 1 - squared distance of the codes / 2
    S.npy           the cosine of the full embeddings, whatever the index compares

Row i of the arrays belongs to row i of retrieval.csv. A query whose photo or coordinate is unusable is in
none of them; it is named, the others go on, and the exit code is 1.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from utils.command import run_command
from utils.embedding import (
    EmbeddingInfo,
    TowerEncoder,
    embed_photos,
    fingerprint,
    gallery_embeddings,
    ids_hash,
)
from utils.images import ImageStore
from utils.retrieval import GalleryIndex, IndexInfo, cosines, retrieval_rows, save_results
from utils.tables import metadata_problems, read_metadata, write_retrieval_table


def build(args: argparse.Namespace) -> list[str]:
    """Embed and index the gallery. Returns what could not be used."""
    gallery = read_metadata(args.gallery)
    store = ImageStore.from_paths(args.image_data_path, args.tar_index_path)
    embeddings, unreadable = gallery_embeddings(
        args.index,
        args.model,
        gallery["IMG_ID"].tolist(),
        store,
        args.dtype,
        args.device,
        args.batch_size,
        args.workers,
    )
    index = GalleryIndex.build(embeddings, args.components, gallery["LAT"].notna().to_numpy())
    index.save(args.index)
    gallery_path = os.path.relpath(args.gallery, args.index)
    IndexInfo(gallery_path, args.model, args.dtype, args.components).save(args.index)
    print(f"{args.index}: {len(index.rows)} photos, codes of length {index.flat.d}")
    return metadata_problems(args.gallery, gallery) + unreadable


def search(args: argparse.Namespace) -> list[str]:
    """Search the index for every query. Returns what could not be used."""
    info, made_of = IndexInfo.load(args.index), EmbeddingInfo.load(args.index)
    model = args.model or info.model
    gallery_path = args.index / info.gallery
    gallery = read_metadata(gallery_path)
    if ids_hash(gallery["IMG_ID"].tolist()) != made_of.image_ids:
        raise ValueError(f"{gallery_path} is no longer the gallery that {args.index} was built from: build it again")
    if fingerprint(model) != made_of.model:
        raise ValueError(f"{args.index} was built with another model than {model}: build it again")

    queries = read_metadata(args.queries)
    problems = metadata_problems(args.queries, queries)
    queries = queries[queries["LAT"].notna()]
    encoder = TowerEncoder.from_pretrained(model, info.dtype, args.device)
    embedded, unreadable = embed_photos(
        encoder,
        queries["IMG_ID"].tolist(),
        ImageStore.from_paths(args.image_path, args.tar_index_path),
        args.batch_size,
        args.workers,
        "queries",
    )
    readable = ~np.isnan(embedded[:, 0])
    queries, embedded = queries[readable], embedded[readable]

    index = GalleryIndex.load(args.index)
    found, scores = index.search(embedded, args.topk)
    least, _ = index.search(embedded, args.topk, reverse=True)
    full = np.load(args.index / "embeddings.npy", mmap_mode="r")
    save_results(args.output_dir, {"I": found, "D": scores, "S": cosines(embedded, full, found)})
    table = args.output_dir / "retrieval.csv"
    write_retrieval_table(table, retrieval_rows(queries, gallery, found, least))
    print(f"{table}: {args.topk} of {len(index.rows)} photos for each of {len(queries)} queries")
    return problems + unreadable


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="embed and index a gallery")
    making.set_defaults(run=build)
    making.add_argument("--gallery", type=Path, required=True, help="metadata table of the gallery")
    making.add_argument("--image_data_path", nargs="+", required=True, help="its photos: tars and folders")
    making.add_argument("--model", required=True, help="folder or hub name of a Qwen-VL checkpoint")
    making.add_argument("--components", type=int, default=0, help="principal components to keep, 0: all (%(default)s)")
    making.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: that of the checkpoint",
    )
    searching = commands.add_parser("search", help="find the candidates of query photos")
    searching.set_defaults(run=search)
    searching.add_argument("--queries", type=Path, required=True, help="metadata table of the queries")
    searching.add_argument("--image_path", nargs="+", required=True, help="their photos: folders and tars")
    searching.add_argument("--model", help="where the checkpoint is now, if not where it was at build time")
    searching.add_argument("--output_dir", type=Path, required=True, help="folder for the results")
    searching.add_argument("--topk", type=int, default=20, help="candidates a query (%(default)s)")
    for command in (making, searching):
        command.add_argument("--index", type=Path, required=True, help="index folder")
        command.add_argument("--tar_index_path", help="index of the tar (default: tar_index.pkl beside it)")
        command.add_argument("--device", default="cpu", help="cpu, cuda, ... (%(default)s)")
        command.add_argument("--batch_size", type=int, default=32, help="photos embedded at a time (%(default)s)")
        command.add_argument("--workers", type=int, default=2, help="processes that decode photos (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
