"""What asking about many photos has brought so far: kept as it arrives, counted, shown."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tqdm import tqdm

from utils.generation.journal import Journal, Reply
from utils.geography.answers import parse_answer
from utils.jobs.processes import SharedWork
from utils.jobs.progress import progress_bar


class Tally:
    """Keeps replies in the journal as they arrive, and shows how far the run is and what it costs.

    The bar shows how far all processes are, the figures beside it what this one met.
    """

    def __init__(self, journal: Journal, total: int, work: SharedWork[str]) -> None:
        self.journal = journal
        self.work = work
        self.answered = 0
        self.problems: list[str] = []
        self.refused = self.tokens = 0
        self.bar = progress_bar(total=total, desc="asking", unit="photo", smoothing=0)

    def take(self, reply: Reply) -> None:
        """Keep a reply, or note the problem that kept it away."""
        if reply.problem is None:
            self.journal.add(reply.img_id, reply.answers)
            self.answered += 1
            self.refused += not any(reply.answers)
            self.tokens += reply.tokens
        else:
            self.problems.append(reply.problem)
        self.bar.set_postfix_str(f"{len(self.problems)} failed, {self.refused} refused{self._cost()}", refresh=False)
        self.bar.update(self.work.finish() - self.bar.n)

    def _cost(self) -> str:
        """The tokens used, and those of the whole run if its other photos cost the same."""
        if not self.tokens:
            return ""
        whole_run = self.tokens / self.answered * self.bar.total
        used, all_of_them = tqdm.format_sizeof(self.tokens), tqdm.format_sizeof(whole_run)
        return f", {used} of about {all_of_them} tokens"


def summary(answers: Mapping[str, Sequence[str]], image_ids: Iterable[str]) -> str:
    """How many of the ``answers`` about photos, by their ids, are of use."""
    ids = list(image_ids)
    count = Counter(
        "place" if parse_answer(answer) else "nowhere" if answer.strip() else "empty"
        for img_id in ids
        for answer in answers.get(img_id, ())
    )
    return (
        f"{count['place']} places for {len(ids)} photos; "
        f"{count['nowhere'] + count['empty']} answers name no usable place, {count['empty']} of them are empty"
    )
