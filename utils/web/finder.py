"""Who locates a photo: what the app was started with, varied as a request wants it."""

from collections.abc import Sequence

from PIL import Image

from utils.answer import Demand
from utils.decider import who_decides
from utils.decoding import METHODS
from utils.locating.automatic import nothing, of_photographs, of_tiles
from utils.locating.choices import Choices
from utils.locating.variation import KINDS, Variation, kind_of
from utils.locator import Locator
from utils.web.problems import Problem
from utils.web.settings import Offer, Settings

NO_PHOTOGRAPHS = (
    "this photo is unlike the tiles of the embedded world, all that this app can locate; whoever started it can add "
    "what finds places for photographs, such as GeoCLIP's points (docs/web.md)"
)


class Finder:
    """Locators in memory: ``of_tiles`` for tiles of the embedded world, ``of_others`` for all other photos.

    Each may be None, not both.
    """

    def __init__(self, of_tiles: Locator | None, of_others: Locator | None) -> None:
        self.of_tiles, self.of_others = of_tiles, of_others
        self.locators = [found for found in (of_tiles, of_others) if found is not None]
        self.offer = offer_of(self.locators)

    @classmethod
    def chosen(cls, choices: Choices, device: str | None = None) -> "Finder":
        """The same for every photo. Errors are those of ``Locator.from_pretrained``."""
        choices.check_demand()  # before anything is loaded
        finder = cls(None, Locator.load(choices, device))
        finder.check_demand()
        return finder

    @classmethod
    def automatic(
        cls,
        model_name: str | None = None,
        base_url: str | None = None,
        demand: Demand | None = None,
        device: str | None = None,
    ) -> "Finder":
        """The best that is on this machine for each photo, as ``utils/locating/automatic.py`` chooses.

        Raises ``ValueError`` where there is nothing, which says what to do, or where ``demand`` can be met by no photo,
        and what ``Locator.load`` raises.
        """
        choices = of_tiles(demand), of_photographs(model_name, base_url, demand)
        if choices == (None, None):
            raise ValueError(nothing("python app.py"))
        finder = cls(*(part and Locator.load(part, device) for part in choices))
        finder.check_demand()
        return finder

    def check_demand(self) -> None:
        """Raise ``ValueError`` where something is demanded, and of no photo's answer anything can be known."""
        errors = []
        for found in self.locators:
            try:
                found.check_demand()
            except ValueError as error:
                errors.append(error)
        if len(errors) == len(self.locators):
            raise errors[0]

    def locator(self, photo: Image.Image, settings: Settings) -> Locator:
        """For this photo. Raises ``Problem`` where there is nothing for it."""
        found = self._of(photo)
        choices = found.choices
        variation = Variation(
            tuple(settings.sources or KINDS),
            choices.generate if settings.generate is None else settings.generate,
            settings.decode or choices.decode,
            settings.demand(choices.demand),
        )
        try:
            return found.varied(variation)
        except ValueError as error:
            raise Problem(422, str(error)) from None

    def _of(self, photo: Image.Image) -> Locator:
        if self.of_tiles is not None and self.of_tiles.judge.ranker.knows(photo):
            return self.of_tiles
        if self.of_others is None:
            raise Problem(422, NO_PHOTOGRAPHS)
        return self.of_others


def offer_of(locators: Sequence[Locator]) -> Offer:
    """What some locators, the first of which is there for most photos, have together."""
    sources: dict[str, list[str]] = {}
    for source in (source for locator in locators for source in locator.sources):
        sources.setdefault(kind_of(source), []).append(source.words)
    return Offer(
        sources,
        _methods(locators, "gallery" in sources),
        next((found.choices.generate for found in locators if found.choices.generate), None),
        locators[0].choices.demand,
        [who_decides(found.judge.name, found.judge.ranker is None) for found in locators],
        next((found.choices.model_name for found in locators if found.choices.model_name), None),
        any(map(_may_know, locators)),
    )


def _may_know(locator: Locator) -> bool:
    """Whether a request can have it answer from candidates of which its calibration knows something."""
    calibrations = locator.judge.decider.calibrations
    if calibrations is None or locator.choices.index is None:
        return False
    kinds, guesses = ("gallery", "guesses"), calibrations.sources.topn_zs
    fitted = (locator.varied(Variation(kinds, guesses, method)) for method in calibrations.methods)
    return any(found.judge.decider.may_know(found.known_as) for found in fitted)


def _methods(locators: Sequence[Locator], similarities: bool) -> list[str]:
    """Of those that decode rewards; the fused ones where there are similarities to fuse them with."""
    default = next((found.choices.decode for found in locators if found.judge.ranker is not None), None)
    if default is None:
        return []
    usable = [name for name, method in METHODS.items() if similarities or not method.fused]
    return sorted(usable, key=lambda name: name != default)
