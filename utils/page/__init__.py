"""One self-contained HTML page of located photos: what was found, on a map, with the evidence.

May import ``locating`` and what lies below. ``report.py`` makes the page of what ``entry.py`` tells of each photo;
``assets.py`` has the parts that another page with the same content needs.
"""
