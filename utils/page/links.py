"""Where to look further: other maps of a place. A page links to them and asks them nothing."""

from urllib.parse import urlsplit

MAPS = {
    "OpenStreetMap": "https://www.openstreetmap.org/?mlat={0}&mlon={1}#map=11/{0}/{1}",
    "Google Maps": "https://www.google.com/maps/search/?api=1&query={0}%2C{1}",
    "Google Street View": "https://www.google.com/maps/@?api=1&map_action=pano&viewpoint={0}%2C{1}",
    "Mapillary": "https://www.mapillary.com/app/?lat={0}&lng={1}&z=11",
}


def links(latitude: float, longitude: float) -> list[dict[str, str]]:
    """A link to each of ``MAPS`` for a point in degrees."""
    point = f"{latitude:.5f}", f"{longitude:.5f}"
    return [{"name": name, "url": url.format(*point)} for name, url in MAPS.items()]


def web_address(text: str) -> str | None:
    """``text`` where it is an address of http or https, to which a page may link; None for anything else."""
    try:
        parts = urlsplit(text)
        return text if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:  # such as brackets that are no address
        return None
