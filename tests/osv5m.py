"""OpenStreetView-5M in miniature: its columns, its folders of zips."""

import csv

from tests.pictures import encoded, photo
from tests.zips import write_zip

COLUMNS = [
    *("id", "latitude", "longitude", "thumb_original_url", "country", "sequence", "captured_at", "lon_bin", "lat_bin"),
    *("cell", "region", "sub-region", "city", "land_cover", "road_index", "drive_side", "climate", "soil", "dist_sea"),
    *(f"quadtree_10_{size}" for size in (5000, 25000, 1000, 50000, 12500, 500, 2500)),
    *("unique_region", "unique_sub-region", "unique_city", "unique_country", "creator_username", "creator_id"),
]
# The example in the loading script of the data set.
CHATHAM = (
    '3859149887465501,-43.804769384023,-176.61409250805,,NZ,q,1577836800000,8,8,"(0, 8)",Chatham Islands,,Waitangi,4,'
    "4.661764145,1,15,3,0.0068841379890803,0,0,0,0,0,0,0,Chatham Islands_NZ,,Waitangi_NaN_Chatham Islands_NZ,NZ,"
    "roadroid,111336221091714.0"
)


def row(number, latitude, longitude, **cells):
    """A row of a table."""
    return {"id": str(10**15 + number), "latitude": latitude, "longitude": longitude, "cell": "(0, 8)"} | cells


def write_table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_photos(folder, rows, zips=2):
    """The photos of ``rows`` dealt to ``00.zip`` and so on, ``00/ID.jpg`` in each."""
    folder.mkdir(parents=True)
    for shard in range(zips):
        photos = [
            (f"{shard:02}/{cells['id']}.jpg", encoded(photo(24, 24, int(cells["id"]) % 1000), "JPEG"))
            for cells in rows[shard::zips]
        ]
        write_zip(folder / f"{shard:02}.zip", photos)
