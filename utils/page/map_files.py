"""Features as files for map programs: GeoJSON (RFC 7946) and KML (OGC 2.2)."""

import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from utils.geography.rings import Ring
from utils.page.features import Feature

DIGITS = 5  # of degrees: a metre
KML = "http://www.opengis.net/kml/2.2"
# What XML 1.0 cannot hold, not even escaped.
NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def geojson(features: Sequence[Feature]) -> str:
    """A FeatureCollection. A disc's polygons overlap those of others, as parts of one region may."""
    return json.dumps({"type": "FeatureCollection", "features": list(map(_feature, features))}, ensure_ascii=False)


def _feature(feature: Feature) -> dict[str, Any]:
    if feature.point is not None:
        geometry = {"type": "Point", "coordinates": _rounded(feature.point)}
    else:
        polygons = [[_closed(ring) for ring in polygon] for polygon in feature.polygons]
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
    about = {"name": feature.name, "kind": feature.kind, **feature.properties}
    return {"type": "Feature", "geometry": geometry, "properties": about}


def _rounded(corner: tuple[float, float]) -> list[float]:
    return [round(degrees, DIGITS) for degrees in corner]


def _closed(ring: Ring) -> list[list[float]]:
    return [_rounded(corner) for corner in [*ring, ring[0]]]


def kml(features: Sequence[Feature], title: str) -> str:
    """A document with a placemark a feature."""
    ElementTree.register_namespace("", KML)
    root = ElementTree.Element(f"{{{KML}}}kml")
    document = _add(root, "Document")
    _add(document, "name", title)
    for feature in features:
        placemark = _add(document, "Placemark")
        _add(placemark, "name", feature.name)
        data = _add(placemark, "ExtendedData")
        for name, value in {"kind": feature.kind, **feature.properties}.items():
            entry = _add(data, "Data")
            entry.set("name", name)
            _add(entry, "value", value if isinstance(value, str) else json.dumps(value))
        _geometry(placemark, feature)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _geometry(placemark: ElementTree.Element, feature: Feature) -> None:
    if feature.point is not None:
        _add(_add(placemark, "Point"), "coordinates", _corner(feature.point))
        return
    together = _add(placemark, "MultiGeometry")
    for outer, *holes in feature.polygons:
        polygon = _add(together, "Polygon")
        for kind, ring in [("outerBoundaryIs", outer), *(("innerBoundaryIs", hole) for hole in holes)]:
            corners = " ".join(map(_corner, [*ring, ring[0]]))
            _add(_add(_add(polygon, kind), "LinearRing"), "coordinates", corners)


def _corner(corner: tuple[float, float]) -> str:
    return ",".join(f"{degrees:.{DIGITS}f}" for degrees in corner)


def _add(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{KML}}}{name}")
    child.text = None if text is None else NO_XML.sub("\ufffd", text)
    return child
