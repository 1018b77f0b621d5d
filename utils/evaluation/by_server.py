"""Rewards of a whole benchmark from vLLM servers: photos sent, many queries at a time, resumable.

The candidates of a query are asked about one after the other: so all but the first find their prompt's prefix in the
server's cache, and what is in the cache is of as many queries as are under way.
"""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from utils.candidates import Query
from utils.evaluation.results import Problem, Results, shown_candidates
from utils.evaluation.reward_log import RewardLog
from utils.jobs.progress import progress_bar
from utils.model.adapter_info import AdapterInfo
from utils.model.prompts import leave_out
from utils.photos.data_url import encoded, lossless
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.servers.workers import Failures, run_to_end, work_off
from utils.serving.chat import chat_content
from utils.serving.reward_server import RewardServer


class SentPhotos:
    """Photos of a store by id as data URLs, pixel by pixel as they are, or re-encoded as JPEG of a quality.

    Raises ``ImageError``, naming the photo, for one that cannot be decoded or re-encoded.
    """

    def __init__(self, store: ImageStore, jpeg_quality: int | None = None) -> None:
        self.store = store
        self.jpeg_quality = jpeg_quality

    def __getitem__(self, image_id: str) -> str:
        if self.jpeg_quality is None:
            return lossless(*self.store.read(image_id))
        photo = self.store.open(image_id)
        try:
            return encoded(photo, "JPEG", quality=self.jpeg_quality)
        except OSError as error:
            raise ImageError(
                f"{image_id}: {photo.width} x {photo.height} pixels do not go into a JPEG: {error}"
            ) from error


def score_by_server(
    servers: Sequence[RewardServer],
    info: AdapterInfo,
    queries: Mapping[int, Query],
    photos: ImageStore,
    gallery: ImageStore,
    log: RewardLog,
    at_once: int,
) -> tuple[dict[int, np.ndarray], list[Problem]]:
    """Rewards (candidates,) float32 by position of the query, and what could not be scored.

    Args:
        servers: with the same adapter; each query is asked about at one of them, so that its prefix is computed once.
        info: of that adapter: its prompt, and how it shows candidates' photos.
        queries: position -> query; photos of queries and candidates are ids of ``photos`` and ``gallery``.
        log: where queries that are done are appended.
        at_once: queries that are under way at a time.

    A reward of a candidate that could not be scored is NaN; queries that could not be scored are absent. Raises
    ``ServerError`` when going on is pointless: the server refuses all requests, has another model, or the candidates
    of ten rounds in a row all failed.
    """
    sent = SentPhotos(photos), SentPhotos(gallery, info.candidate_jpeg_quality)
    results = Results(queries, log)
    failures = Failures(10 * at_once)

    async def score(position: int) -> None:
        # In a thread, because decoding takes long enough to hold up the other requests.
        query, kept, urls, problems = await asyncio.to_thread(
            shown_candidates, position, queries[position], *(store.__getitem__ for store in sent)
        )
        for problem in problems:
            results.lose(problem)
        if query is not None:
            shown = leave_out(info.omit, query)
            for number, candidate in zip(kept, shown.candidates, strict=True):
                names = [query.image, *([] if candidate.image is None else [candidate.image])]
                try:
                    content = chat_content(candidate, shown.negatives, info.layout, [urls[name] for name in names])
                except ValueError as error:
                    results.take(position, number, np.nan, str(error))
                    continue
                reward, why = await servers[position % len(servers)].reward(content)
                results.take(position, number, reward, why)
                failures.note(why)
        bar.update()

    with progress_bar(total=len(queries), unit="query", desc="scoring") as bar:
        run_to_end(work_off([server.server for server in servers], sorted(queries), score, at_once))
    return results.scored, results.problems
