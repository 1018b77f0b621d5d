"""A photo of a foreign data set, in our terms: what a row of the metadata table and of the ledger says."""

import re
from dataclasses import dataclass, field, replace

from utils.geography.gazetteer import TEXT_COLUMNS, country_names
from utils.geography.geodesy import parse_coordinate
from utils.photos.credit import Credit
from utils.tables.layout import parse_number


@dataclass(frozen=True, slots=True)
class ImportedPhoto:
    """A photo and its metadata."""

    image_id: str  # its name in the archive or folder that holds it
    latitude: float  # degrees
    longitude: float
    texts: tuple[str, ...]  # by TEXT_COLUMNS
    sequence: str  # of the shots on one ride; empty where that is not known
    credit: Credit
    where: str = field(default="", compare=False)  # file and row or key, for messages


def place_texts(*, city: str = "", county: str = "", state: str = "", country: str = "") -> tuple[str, ...]:
    """Place names by TEXT_COLUMNS, each on one line. An ISO code of a country becomes its name."""
    names = {"city": city, "county": county, "state": state, "country": country_names().get(country, country)}
    return tuple(on_one_line(names.get(column, "")) for column in TEXT_COLUMNS)


def credit_of(author: str, author_id: str, licence: str, licence_url: str, source: str) -> Credit:
    """The credit with each text on one line. An id that went through a floating-point number is whole again.

    A licence of Creative Commons without address has that of ``creative_commons_url``.
    """
    # As Python writes them: other columns' missing cells, or JSON, make numbers of whole columns of ids.
    if re.fullmatch(r"\d+\.0|\d(\.\d+)?e\+\d\d", author_id):
        author_id = str(int(float(author_id)))
    credit = Credit(*map(on_one_line, (author, author_id, licence, licence_url, source)))
    return credit if credit.licence_url else replace(credit, licence_url=creative_commons_url(credit.licence))


def creative_commons_url(licence: str) -> str:
    """The address of a licence of Creative Commons by its name, such as ``CC BY-SA 4.0``; empty for any other text.

    As creativecommons.org lists them: CC0 1.0, and the six that begin with BY in the versions 2.0, 3.0 and 4.0.
    """
    if re.fullmatch(r"CC0[ -]1\.0", licence, re.IGNORECASE):
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    found = re.fullmatch(r"CC[ -](BY(?:-NC)?(?:-SA|-ND)?)[ -]([234]\.0)", licence, re.IGNORECASE)
    return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/" if found else ""


def on_one_line(text: str) -> str:
    """``text`` with one space in place of white space, line breaks, NUL and other control characters."""
    if not text.isprintable():  # few are not, and a data set has millions
        text = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text)
    return " ".join(text.split())


def parse_point(latitude: object, longitude: object) -> tuple[float, float]:
    """Numbers or cells as (latitude, longitude) in degrees. Raises ``ValueError`` where they are no coordinate."""
    try:
        return parse_coordinate(tuple(parse_number(str(value)) for value in (latitude, longitude)))
    except ValueError as error:
        raise ValueError(f"latitude, longitude: {error}") from None
