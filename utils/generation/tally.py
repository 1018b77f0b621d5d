"""What asking about many photos has brought so far: kept as it arrives, counted, shown."""

from collections import Counter
from collections.abc import Iterable

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
        self.refused = self.cut = self.tokens = 0
        self.bar = progress_bar(total=total, desc="asking", unit="photo", smoothing=0)

    def take(self, reply: Reply) -> None:
        """Keep a reply, or note the problem that kept it away."""
        if reply.problem is None:
            self.journal.add(reply)
            self.answered += 1
            self.refused += not reply.cut and not any(reply.answers)
            self.cut += len(reply.cut)
            self.tokens += reply.tokens
        else:
            self.problems.append(reply.problem)
        cut = f", {self.cut} answers cut off" if self.cut else ""
        met = f"{len(self.problems)} failed, {self.refused} refused{cut}{self._cost()}"
        self.bar.set_postfix_str(met, refresh=False)
        self.bar.update(self.work.finish() - self.bar.n)

    def _cost(self) -> str:
        """The tokens used, and those of the whole run if its other photos cost the same."""
        if not self.tokens:
            return ""
        whole_run = self.tokens / self.answered * self.bar.total
        used, all_of_them = tqdm.format_sizeof(self.tokens), tqdm.format_sizeof(whole_run)
        return f", {used} of about {all_of_them} tokens"


def summary(replies: Iterable[Reply], photos: int) -> str:
    """How many of the answers about so many ``photos`` are of use, and how many more tokens would have made longer."""
    count = Counter()
    for reply in replies:
        count["places"] += sum(parse_answer(answer) is not None for answer in reply.whole)
        count["answers"] += len(reply.whole)
        count["empty"] += sum(not answer.strip() for n, answer in enumerate(reply.answers) if n not in reply.cut)
        count["photos"] += 1
        count.update(cut=len(reply.cut), lost=len(reply.answers) - len(reply.whole), cut_photos=bool(reply.cut))
    text = (
        f"{count['places']} places for {photos} photos; "
        f"{count['answers'] - count['places']} answers name no usable place, {count['empty']} of them are empty"
    )
    if unanswered := photos - count["photos"]:
        text = f"photos without answers: {unanswered}; {text}"
    if not count["cut"]:
        return text
    return (
        f"{text}; {count['cut']} answers about {count['cut_photos']} photos were cut off by --max_tokens, "
        f"{count['lost']} of them in the middle of a place, and left out: a run with more tokens asks about these "
        "photos again"
    )
