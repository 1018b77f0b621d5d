"""Where to look further: other maps of a place. A page links to them and asks them nothing."""

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
