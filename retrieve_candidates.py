"""Find the gallery photos most similar to each query photo.

    python retrieve_candidates.py build --gallery dataset/earth/gallery/metadata.csv \\
        --image_data_path dataset/earth/gallery/images.tar --model checkpoints/earth-base \\
        --index dataset/earth/gallery/index --components 8
    python retrieve_candidates.py search --index dataset/earth/gallery/index \\
        --queries dataset/earth/test/metadata.csv --image_path dataset/earth/test/images \\
        --output_dir dataset/earth/test
    python retrieve_candidates.py add --index dataset/earth/gallery/index \\
        --gallery more.csv --image_data_path more.tar
    python retrieve_candidates.py search --index geoclip \\
        --queries dataset/im2gps3k/im2gps3k_places365.csv --image_path dataset/im2gps3k/im2gps3ktest \\
        --output_dir outputs/geoclip
    torchrun --nproc_per_node 8 retrieve_candidates.py build --gallery dataset/mp16-pro/MP16_Pro_filtered.csv \\
        --image_data_path dataset/mp16-pro/mp-16-images.tar --model checkpoints/g3.pth \\
        --index dataset/mp16-pro/index --storage float16 --num_workers 8

`build` embeds the gallery, once (embeddings.npy in the index folder), and indexes the embeddings or their first
principal components. --model says with what: a Qwen-VL checkpoint (its vision tower), a CLIP-like one, or G3's .pth
file. A photo that cannot be read is named; building again tries it once more. `add` does the same with further photos,
whose row numbers follow those of the gallery; gallery.csv in the index folder then is the metadata of all. `search`
writes into --output_dir

    retrieval.csv   the retrieval table: coordinates of the most similar photos of each query, and with --reverse of the
                    least similar ones, whose columns are empty without it: no ranker reads them
    I.npy           (queries, topk) row numbers in the gallery's metadata table, best first
    D.npy           their scores, higher is better: of an exact index 1 - squared distance of the codes / 2, else S.npy
    S.npy           the cosine of the full embeddings, whatever the index compares

With `--index geoclip` the candidates are GeoCLIP's 100,000 points, which need no gallery and no `build`: I.npy counts
through the points, D.npy holds the cosines of photo and place, and G.npy the same in place of S.npy, which is of two
photos. Its weights are those of the package geoclip or of a release folder (--geoclip); its CLIP ViT-L/14 (1.7 GB) is
downloaded on first use, or read from a folder (--clip).

Row i of the arrays belongs to row i of retrieval.csv. A query whose photo or coordinate is unusable is in
none of them; it is named, the others go on, and the exit code is 1. An interrupted `build` or `add` goes on where it
was when it is started again; a second one that writes to the index meanwhile is refused. docs/retrieval.md has
the encoders, docs/large_galleries.md index types and what they cost, docs/nodes.md how several machines share a build.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.cli.command import run_command
from utils.cli.flags import add_device, add_quiet, add_workers, at_least, script_parser
from utils.cli.given import refuse
from utils.data_paths import FLICKR_OWNER, check_files
from utils.jobs.locks import alone_in
from utils.jobs.outputs import check_outputs
from utils.jobs.processes import Processes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from utils.retrieval.encoders import Encoder
    from utils.retrieval.exclusions import Exclusion
    from utils.retrieval.gallery import Gallery, IndexType

logger = logging.getLogger("scripts")

GEOCLIP = Path("geoclip")  # as --index
BY_LEDGER = "ledger"  # --exclude_owner without a regular expression


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{build,add,search}")

    making = commands.add_parser("build", help="embed and index a gallery")
    making.set_defaults(run=grow)
    making.add_argument(
        "--model", required=True, help="encoder: folder or hub name of a Qwen-VL or CLIP-like checkpoint, or G3's .pth"
    )
    making.add_argument(
        "--components", type=at_least(0), default=0, help="principal components to keep, 0: all (%(default)s)"
    )
    making.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="to compute in; auto: bfloat16 on a GPU, else that of the weights; where the CPU cannot, float32",
    )
    making.add_argument(
        "--storage", default="float32", choices=("float32", "float16"), help="of embeddings.npy (%(default)s)"
    )
    making.add_argument("--index_type", default="auto", choices=("auto", "exact", "ivfpq"), help="auto: by --exact_gib")
    making.add_argument("--exact_gib", type=at_least(0, float), help="largest exact index, GiB (8)")
    making.add_argument("--code_bytes", type=at_least(1), help="size of an ivfpq code (64)")

    adding = commands.add_parser("add", help="embed further photos and add them to an index")
    adding.set_defaults(run=grow)
    for command in (making, adding):
        command.add_argument("--gallery", type=Path, required=True, help="metadata table of the photos")
        command.add_argument("--image_data_path", nargs="+", required=True, help="the photos: tars, zips and folders")

    searching = commands.add_parser("search", help="find the candidates of query photos")
    searching.set_defaults(run=search)
    searching.add_argument("--queries", type=Path, required=True, help="metadata table of the queries")
    searching.add_argument("--image_path", nargs="+", required=True, help="their photos: folders, tars and zips")
    searching.add_argument("--output_dir", type=Path, required=True, help="folder for the results")
    searching.add_argument("--topk", type=at_least(1), default=20, help="candidates a query (%(default)s)")
    for command in (making, searching):
        command.add_argument(
            "--reverse",
            action="store_true",
            help="the least similar photos, too",
        )
    searching.add_argument("--exclude_same_id", action="store_true", help="a query does not find its own IMG_ID")
    searching.add_argument(
        "--exclude_owner",
        nargs="?",
        const=BY_LEDGER,
        metavar="REGEX",
        help="a query finds no photo of its owner, whom the group of REGEX matches in an IMG_ID; without REGEX the "
        f"author of the ledgers beside the metadata tables, where the gallery has none Flickr's, {FLICKR_OWNER}",
    )
    searching.add_argument(
        "--geoclip", type=Path, help="GeoCLIP's weights: folder of its hub release; default: package"
    )
    searching.add_argument("--clip", help="GeoCLIP's CLIP ViT-L/14: folder or hub name; default: as its weights say")
    for command in (adding, searching):
        command.add_argument("--model", help="where the encoder is now, if not where it was at build time")
    index_help = dict.fromkeys((making, adding), "index folder")
    index_help[searching] = "index folder, or the word geoclip for GeoCLIP's points"
    for command in (making, adding, searching):
        command.add_argument("--index", type=Path, required=True, help=index_help[command])
        command.add_argument("--tar_index_path", help="index of the tar, or released pickle; default: beside it")
        add_device(command.add_argument)
        command.add_argument(
            "--batch_size", type=at_least(1), default=32, help="photos embedded at a time (%(default)s)"
        )
        add_workers(command.add_argument, default=2)
        add_quiet(command.add_argument, default=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    check_geoclip(args, parser)
    if args.command == "build":
        check_index_type(args, parser)
    return args


def check_geoclip(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse flags of a gallery with GeoCLIP's points, and the other way round; the points take their own search."""
    given = {name for name, value in vars(args).items() if value}
    if args.index != GEOCLIP:
        refuse(parser, given, ("geoclip", "clip"), "without --index geoclip")
    elif args.command == "search":
        useless = ("model", "reverse", "exclude_same_id", "exclude_owner")
        refuse(parser, given, useless, "with --index geoclip: its points are no photos")
        args.run = search_geoclip
    else:
        parser.error("--index geoclip: GeoCLIP's points are searched as they are; give the index another name")


def check_index_type(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what says nothing of the index that is asked for, and fill in the defaults."""
    if args.components and args.index_type == "ivfpq":
        parser.error("--components is for the exact index: ivfpq chooses its own")
    if args.code_bytes is not None and args.index_type == "exact":
        parser.error("--code_bytes: no use with --index_type exact")
    if args.exact_gib is not None and args.index_type != "auto":
        parser.error(f"--exact_gib: no use with --index_type {args.index_type}")
    args.code_bytes = 64 if args.code_bytes is None else args.code_bytes
    args.exact_gib = 8 if args.exact_gib is None else args.exact_gib


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: args.run(args), quiet=args.quiet)


def grow(args: argparse.Namespace) -> list[str]:
    """Build an index or add to it, while no other process writes to it. Returns what could not be used."""
    files = [("index", args.index / "index.json")] if args.command == "add" else []
    files += [("gallery", args.gallery), *(("image_data_path", path) for path in args.image_data_path)]
    check_files([*files, ("tar_index_path", args.tar_index_path)])
    check_outputs(folders=[("--index", args.index)])
    with alone_in(args.index, Processes.from_environment().rank):
        return build(args) if args.command == "build" else add(args)


def build(args: argparse.Namespace) -> list[str]:
    """Embed and index the gallery."""
    from utils.retrieval.building import build_index, check_index, choose_index_type
    from utils.retrieval.embedding import compute_dtype
    from utils.retrieval.gallery import IndexInfo
    from utils.tables.metadata import metadata_problems, read_metadata

    gallery = read_metadata(args.gallery)
    if (args.index / "index.json").exists() and (added := IndexInfo.load(args.index).added):
        raise ValueError(f"{args.index} has photos in {', '.join(added)}, which would be lost: use another folder")
    dtype = compute_dtype(args.dtype, device(args))
    usable = gallery["LAT"].notna().to_numpy()
    coding = {"components": args.components, "code_bytes": args.code_bytes}

    def chosen_type(dimension: int) -> "IndexType":
        index_type = choose_index_type(args.index_type, len(gallery), args.components or dimension, args.exact_gib)
        check_index(index_type, int(usable.sum()), dimension, **coding)
        return index_type

    embedded = embed_gallery(args, args.index, gallery, args.model, dtype, args.storage, check=chosen_type)
    if embedded is None:
        return []
    embeddings, unreadable = embedded
    index_type = chosen_type(embeddings.shape[1])
    index, trade_off = build_index(embeddings, usable, index_type, **coding, reverse=args.reverse)
    # A run that is stopped here leaves no index rather than parts of two.
    (args.index / "index.json").unlink(missing_ok=True)
    index.save(args.index)
    gallery_path = os.path.relpath(args.gallery, args.index)
    IndexInfo(gallery_path, args.model, dtype, args.components, index_type).save(args.index)
    print(f"{args.index}: {index_type} index of {index.photos} photos, {index.bytes_per_photo} bytes each, {trade_off}")
    return metadata_problems(args.gallery, gallery) + unreadable


def add(args: argparse.Namespace) -> list[str]:
    """Embed further photos and add them to the index."""
    from utils.retrieval.gallery import Gallery, IndexInfo, add_part
    from utils.tables.metadata import metadata_problems, read_metadata

    index, photos = Gallery(args.index), read_metadata(args.gallery)
    info = index.info
    model = checked_model(args, index)
    known = photos["IMG_ID"][photos["IMG_ID"].isin(index.metadata["IMG_ID"])]
    if len(known):
        raise ValueError(f"{args.gallery}: {len(known)} photos are in {args.index} already, such as {known.iloc[0]}")
    name = f"added-{len(info.added) + 1:03}"
    folder = args.index / name
    embedded = embed_gallery(args, folder, photos, model, info.dtype, index.made_of.storage)
    if embedded is None:
        return []
    embeddings, unreadable = embedded
    more = index.parts[0].index.another(embeddings, photos["LAT"].notna().to_numpy())
    more.save(folder)
    gallery_path = os.path.relpath(args.gallery, folder)
    add_part(args.index, name, IndexInfo(gallery_path, model, info.dtype, info.components, info.index_type))
    print(f"{args.index}: {more.photos} photos more, {index.photos + more.photos} in all")
    return metadata_problems(args.gallery, photos) + unreadable


def search(args: argparse.Namespace) -> list[str]:
    """Search the index for every query. Returns what could not be used."""
    check_search(args, "index", args.index / "index.json")

    from utils.retrieval.embedding import load_encoder
    from utils.retrieval.exclusions import same_id, search_excluding
    from utils.retrieval.gallery import Gallery, retrieval_rows, save_results
    from utils.tables.retrieval_table import write_retrieval_table

    gallery = Gallery(args.index)
    model = checked_model(args, gallery)
    queries, embedded, problems = query_embeddings(args, load_encoder(model, gallery.info.dtype, device(args)))
    exclusions = [same_id(queries["IMG_ID"], gallery.metadata["IMG_ID"])] if args.exclude_same_id else []
    exclusions += owners(args, queries, gallery) if args.exclude_owner else []
    found, scores = search_excluding(gallery, embedded, args.topk, exclusions)
    least = None
    if args.reverse:
        least, _ = search_excluding(gallery, embedded, args.topk, exclusions, reverse=True)
    save_results(args.output_dir, {"I": found, "D": scores, "S": gallery.cosines(embedded, found)})
    table = args.output_dir / "retrieval.csv"
    write_retrieval_table(table, retrieval_rows(queries, gallery.metadata, found, least))
    print(f"{table}: {args.topk} of {gallery.photos} photos for each of {len(queries)} queries; I.npy: {gallery.table}")
    return problems


def owners(args: argparse.Namespace, queries: "pd.DataFrame", gallery: "Gallery") -> "list[Exclusion]":
    """What a query may not find of its owner, whom ledgers or IMG_IDs name."""
    from utils.retrieval.exclusions import same_author, same_owner
    from utils.tables.ledger import ledger_path

    ledgers = [(part.metadata["IMG_ID"], ledger_path(part.table)) for part in gallery.parts]
    if args.exclude_owner == BY_LEDGER and any(path.exists() for _, path in ledgers):
        logger.info("owners are the authors of the ledgers beside the metadata tables")
        tables = [args.queries, *(part.table for part in gallery.parts)]
        if missing := [table for table in tables if not ledger_path(table).exists()]:
            raise FileNotFoundError("\n".join(map(without_ledger, missing)))
        return same_author([(queries["IMG_ID"], ledger_path(args.queries))], ledgers)
    pattern = FLICKR_OWNER if args.exclude_owner == BY_LEDGER else args.exclude_owner
    return [same_owner(queries["IMG_ID"], gallery.metadata["IMG_ID"], pattern)]


def without_ledger(table: str | os.PathLike) -> str:
    """What is wrong with a metadata table that has no ledger, where the authors are asked for."""
    from utils.tables.ledger import ledger_path

    return (
        f"{ledger_path(table)} does not exist: the ledger beside {table}, which names its photos' authors; or give "
        "--exclude_owner a regular expression with one group, the owner in an IMG_ID"
    )


def search_geoclip(args: argparse.Namespace) -> list[str]:
    """Search GeoCLIP's points for every query. Returns what could not be used."""
    check_search(args, "geoclip", args.geoclip)

    from utils.retrieval.gallery import retrieval_rows, save_results
    from utils.retrieval.geoclip import GeoClip
    from utils.tables.retrieval_table import write_retrieval_table

    geoclip = GeoClip.from_pretrained(args.geoclip, clip=args.clip, device=device(args))
    queries, embedded, problems = query_embeddings(args, geoclip)
    found, scores = geoclip.search(embedded, args.topk)
    save_results(args.output_dir, {"I": found, "D": scores, "G": scores})
    table = args.output_dir / "retrieval.csv"
    write_retrieval_table(table, retrieval_rows(queries, geoclip.table, found))
    print(f"{table}: {args.topk} of GeoCLIP's {len(geoclip.points)} points for each of {len(queries)} queries")
    return problems


def check_search(args: argparse.Namespace, flag: str, path: Path | None) -> None:
    """Raise ``OSError`` where a file is missing, also that of ``flag``, or the results cannot be written."""
    photos = [("image_path", path) for path in args.image_path]
    check_files([(flag, path), ("queries", args.queries), *photos, ("tar_index_path", args.tar_index_path)])
    check_outputs(folders=[("--output_dir", args.output_dir)])


def query_embeddings(args: argparse.Namespace, encoder: "Encoder") -> "tuple[pd.DataFrame, np.ndarray, list[str]]":
    """See ``embed_queries``."""
    from utils.photos.store import ImageStore
    from utils.retrieval.queries import embed_queries

    store = ImageStore.from_paths(args.image_path, args.tar_index_path)
    return embed_queries(args.queries, store, encoder, args.batch_size, args.num_workers)


def device(args: argparse.Namespace) -> str:
    """Where to compute. Raises ``ValueError`` as ``checked_device`` does."""
    from utils.model.device import checked_device, own_device

    return str(checked_device(args.device or own_device(Processes.from_environment().local_rank)))


def embed_gallery(
    args: argparse.Namespace,
    folder: Path,
    gallery: "pd.DataFrame",
    model: str,
    dtype: str,
    storage: str,
    check: Callable[[int], Any] | None = None,
) -> "tuple[np.ndarray, list[str]] | None":
    """The embeddings of ``gallery`` in ``folder``; see ``gallery_embeddings``.

    Raises ``ValueError`` where no photo can be read, naming the first and where it was looked for.
    """
    from utils.photos.store import ImageStore
    from utils.retrieval.gallery_embeddings import gallery_embeddings

    store = ImageStore.from_paths(args.image_data_path, args.tar_index_path)
    ids = gallery["IMG_ID"].tolist()
    how = dtype, device(args), args.batch_size, args.num_workers, storage, Processes.from_environment(), check
    embedded = gallery_embeddings(folder, model, ids, store, *how)
    if embedded is not None and len(embedded[1]) == len(ids):
        raise ValueError(
            f"{args.gallery}: none of its {len(ids):,} photos can be read from --image_data_path; {embedded[1][0]}"
        )
    return embedded


def checked_model(args: argparse.Namespace, gallery: "Gallery") -> str:
    """The encoder of the index, where it is now."""
    model = args.model or gallery.info.model
    gallery.check_model(model)
    return model


if __name__ == "__main__":
    sys.exit(main())
