"""A photo of a foreign data set, in our terms: what a row of the metadata table and of the ledger says."""

from dataclasses import dataclass

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


def place_texts(*, city: str = "", county: str = "", state: str = "", country: str = "") -> tuple[str, ...]:
    """Place names by TEXT_COLUMNS, each on one line. An ISO code of a country becomes its name."""
    names = {"city": city, "county": county, "state": state, "country": country_names().get(country, country)}
    return tuple(" ".join(names.get(column, "").split()) for column in TEXT_COLUMNS)


def parse_point(latitude: object, longitude: object) -> tuple[float, float]:
    """Numbers or cells as (latitude, longitude) in degrees. Raises ``ValueError`` where they are no coordinate."""
    try:
        return parse_coordinate(tuple(parse_number(str(value)) for value in (latitude, longitude)))
    except ValueError as error:
        raise ValueError(f"latitude, longitude: {error}") from None
