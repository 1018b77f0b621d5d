"""Decoding of every kind of photo, and the image store."""

import io
import pickle
import struct
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from utils.photos.images import ImageError, open_image
from utils.photos.store import ImageStore
from utils.photos.tar_index_build import index_tar
from utils.photos.tar_index_pickle import write_tar_index


def photo(width=48, height=32, seed=0):
    """A smooth random picture, so that JPEG changes it little."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width, height, bit_depth, colour_type, rows, *chunks):
    """A PNG written by hand, for kinds that PIL cannot write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    )


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


# ---- decoding ----


# The transpose that undoes each EXIF orientation, by the EXIF standard's words for row 0 and column 0.
UPRIGHT = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda a: a.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_rotation(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(photo(), format, exif=exif))
    assert (pixels(image) == UPRIGHT[orientation](pixels(photo()))).all()


def test_exif_rotation_of_grey_16_bit():
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    image = open_image(encoded(Image.fromarray(ramp), exif=exif))
    assert (pixels(image)[..., 0] == UPRIGHT[6](np.arange(12).reshape(3, 4))).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr", "1", "P"])
def test_modes(mode):
    image = photo().convert(mode)
    reopened = open_image(encoded(image, "TIFF"))
    assert (pixels(reopened) == pixels(image.convert("RGB"))).all()


def test_cmyk_jpeg_keeps_its_colours():
    """Ink, not light: read as RGB or uninverted, the picture would be a negative."""
    reopened = open_image(encoded(photo().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels(reopened) - pixels(photo())).mean() < 4


def test_alpha_lies_over_white():
    rgba = np.zeros((1, 4, 4), dtype=np.uint8)
    rgba[0, :, 0] = 200  # red
    rgba[0, :, 3] = [0, 51, 128, 255]
    expected = np.rint(255 + (np.array([200, 0, 0]) - 255) * np.array([0, 51, 128, 255])[:, None] / 255)
    for format in ("PNG", "TIFF"):
        assert np.abs(pixels(open_image(encoded(Image.fromarray(rgba), format))) - expected).max() <= 1


def test_grey_with_alpha_lies_over_white():
    image = Image.fromarray(np.array([[[100, 0], [100, 255]]], dtype=np.uint8), "LA")
    assert pixels(open_image(encoded(image))).tolist() == [[[255] * 3, [100] * 3]]


def test_transparent_palette_lies_over_white():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    expected = [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    for format in ("PNG", "GIF"):
        assert pixels(open_image(encoded(image, format, transparency=1))).tolist() == expected


def test_transparent_colour_lies_over_white():
    rows = [bytes([10, 20, 30, 40, 50, 60])]
    data = png(2, 1, 8, 2, rows, (b"tRNS", struct.pack(">HHH", 40, 50, 60)))
    assert pixels(open_image(data)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    data = png(2, 1, 8, 0, [bytes([7, 9])], (b"tRNS", struct.pack(">H", 9)))
    assert pixels(open_image(data)).tolist() == [[[7] * 3, [255] * 3]]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(dtype, format):
    grey = np.array([[0, 128, 129, 257, 32768, 65278, 65406, 65535]])
    mode = "I;16B" if dtype == ">u2" else "I;16"
    image = Image.frombytes(mode, (8, 1), grey.astype(dtype).tobytes())
    if format != "TIFF":
        image = image.convert("I").convert("I;16")
    expected = np.rint(grey / 65535 * 255)
    for channel in range(3):
        assert (pixels(open_image(encoded(image, format)))[..., channel] == expected).all()


def test_16_bit_colour_is_scaled():
    row = struct.pack(">6H", 0, 257 * 100, 65535, 257 * 7, 257 * 8, 257 * 9)
    assert pixels(open_image(png(2, 1, 16, 2, [row]))).tolist() == [[[0, 100, 255], [7, 8, 9]]]


@pytest.mark.parametrize(
    "image", [Image.new("F", (2, 2), 0.5), Image.new("I", (2, 2), 70_000), Image.new("I", (2, 2), -1)]
)
def test_pixels_without_a_range_are_refused(image):
    with pytest.raises(ImageError, match=r"depth\.tif: .*no defined range"):
        open_image(encoded(image, "TIFF"), "depth.tif")


def test_first_frame_of_an_animation():
    data = encoded(photo(seed=1), "PNG", save_all=True, append_images=[photo(seed=2)])
    assert (pixels(open_image(data)) == pixels(photo(seed=1))).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncated(format):
    data = encoded(photo(200, 150), format)
    with pytest.raises(ImageError, match=r"half\.img"):
        open_image(data[: len(data) // 2], "half.img")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", bytes(1000), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_no_image(data, tmp_path):
    path = tmp_path / "page.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"page\.jpg"):
        open_image(path)


def test_no_file(tmp_path):
    with pytest.raises(ImageError, match=r"absent\.jpg"):
        open_image(tmp_path / "absent.jpg")


def test_decompression_bomb_is_refused_by_its_header():
    """A billion pixels in a hundred bytes, and one pixel over the limit; neither may be decoded first."""
    with pytest.raises(ImageError, match=r"bomb\.png"):
        open_image(png(100_000, 10_000, 8, 0, [b""]), "bomb.png")


def test_a_strip_that_no_qwen_vl_takes_is_refused(tmp_path):
    for width, height in ((1206, 6), (2, 401)):
        Image.new("RGB", (width, height)).save(tmp_path / "strip.png")
        with pytest.raises(ImageError, match=rf"strip\.png: .*{width} x {height} pixels are longer than 200 : 1"):
            open_image(tmp_path / "strip.png")
    Image.new("RGB", (1200, 6)).save(tmp_path / "strip.png")
    assert open_image(tmp_path / "strip.png").size == (1200, 6)


def test_decompression_limit_holds_whatever_pil_is_told(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match=r"bomb\.png: .*13378 x 13378 pixels"):
        open_image(png(13_378, 13_378, 8, 0, [b""]), "bomb.png")


def test_path_bytes_and_file_are_the_same(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo()))
    with open(path, "rb") as file:
        images = [open_image(path), open_image(str(path)), open_image(path.read_bytes()), open_image(file)]
    assert all((pixels(image) == pixels(photo())).all() for image in images)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]), st.data())
def test_damaged_bytes_decode_or_name_the_photo(format, data):
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = bytearray(encoded(photo(), format, exif=exif))
    for place in data.draw(st.lists(st.integers(0, min(len(damaged), 400) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert open_image(bytes(damaged), "damaged.img").mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("damaged.img: ")  # noqa: PT017


# ---- the store ----


@pytest.fixture
def gallery(tmp_path):
    """A tar of 30 photos with one that is no photo, its index, and what each id should decode to."""
    expected = {f"gallery_{i:06d}.png": photo(seed=i) for i in range(30)}
    tar_path = tmp_path / "images.tar"
    with tarfile.open(tar_path, "w") as tar:
        for name, data in [
            *((name, encoded(image)) for name, image in expected.items()),
            ("a/" + "deep/" * 40 + "name.png", encoded(photo(seed=99))),  # needs an extended header
            ("broken.png", b"no photo"),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        tar.addfile(member_of_type(tarfile.DIRTYPE))
    write_tar_index(tar_path, tmp_path / "tar_index.pkl")
    return tar_path, expected


def member_of_type(kind):
    member = tarfile.TarInfo("folder")
    member.type = kind
    return member


def test_tar(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    for name, image in expected.items():
        assert name in store
        assert (pixels(store.open(name)) == pixels(image)).all()
    assert (pixels(store.open("a/" + "deep/" * 40 + "name.png")) == pixels(photo(seed=99))).all()
    assert "folder" not in store
    assert "gallery_000007" in store
    assert (pixels(store.open("gallery_000007")) == pixels(photo(seed=7))).all()


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))  # 3 came with Python 3.0
def test_index_of_any_protocol_and_member_names(gallery, tmp_path, protocol):
    tar_path, _ = gallery
    with tarfile.open(tar_path) as tar:
        index = {f"id {i}": member for i, member in enumerate(tar.getmembers()) if member.isfile()}
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps(index, protocol))
    store = ImageStore.from_paths([tar_path], tar_index=str(other))
    assert (pixels(store.open("id 3")) == pixels(photo(seed=3))).all()


def test_dot_slash_members_and_the_last_of_equal_names(tmp_path):
    tar_path = tmp_path / "images.tar"
    with tarfile.open(tar_path, "w") as tar:
        for seed in (1, 2):
            data = encoded(photo(seed=seed))
            member = tarfile.TarInfo("./photo.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_tar_index(tar_path, tmp_path / "tar_index.pkl")
    image = ImageStore.from_paths([tar_path]).open("photo.png")
    assert (pixels(image) == pixels(photo(seed=2))).all()


def test_a_tar_that_is_not_the_indexed_one_shows_no_wrong_photo(gallery):
    """Rewritten with the same size: every member stands elsewhere, or is another."""
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    data = tar_path.read_bytes()
    tar_path.write_bytes(data[512:] + data[:512])
    for name in expected:
        with pytest.raises(ImageError, match=rf"{name} in .*images\.tar: no member of .*is the index of this tar"):
            store.open(name)


def test_shards(gallery, tmp_path):
    """A folder of tars, each with an index of its own, means the photos of all of them."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for seed in (number, 10 + number):
                data = encoded(photo(seed=seed))
                member = tarfile.TarInfo(f"photo {seed}.png")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    with pytest.raises(FileNotFoundError, match=r"0\.tar has no 0\.tar\.index beside it; `python -m tools\.index_tar"):
        ImageStore.from_paths([folder])
    for number in range(3):
        index_tar(folder / f"{number}.tar")
    for paths in ([folder], sorted(folder.glob("*.tar")), [gallery[0], folder]):
        store = ImageStore.from_paths(paths)
        for seed in (0, 1, 2, 10, 11, 12):
            assert (pixels(store.open(f"photo {seed}")) == pixels(photo(seed=seed))).all()
        assert "photo 3.png" not in store


def test_missing_and_broken_members_are_named_and_cost_no_other(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    with pytest.raises(ImageError, match=r"absent\.png: not in .*images\.tar"):
        store.open("absent.png")
    with pytest.raises(ImageError, match=r"broken\.png in .*images\.tar"):
        store.open("broken.png")
    assert (pixels(store.open("gallery_000000.png")) == pixels(expected["gallery_000000.png"])).all()


def test_truncated_tar(gallery):
    """A download that stopped: the photos that arrived are readable, the others say what is wrong."""
    tar_path, _ = gallery
    data = tar_path.read_bytes()
    tar_path.write_bytes(data[: len(data) // 2])
    store = ImageStore.from_paths([tar_path])
    store.open("gallery_000000.png")
    with pytest.raises(ImageError, match=r"gallery_000029\.png in .*images\.tar: the tar ends \d+ bytes too early"):
        store.open("gallery_000029.png")


def test_folder_with_and_without_extension(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, seed in [("one.jpg", 1), ("sub/two.PNG", 2), ("three", 3), ("x@N00.jpg.webp", 4)]:
        (tmp_path / name).write_bytes(encoded(photo(seed=seed)))
    store = ImageStore.from_paths([str(tmp_path)])
    for image_id, seed in [("one.jpg", 1), ("one", 1), ("sub/two", 2), ("three", 3), ("x@N00.jpg", 4)]:
        assert image_id in store
        assert (pixels(store.open(image_id)) == pixels(photo(seed=seed))).all()
    assert "sub" not in store


def test_ids_do_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(photo()))
    store = ImageStore.from_paths([tmp_path / "inside"])
    for image_id in ("../secret.png", str(secret), "sub/../../secret.png", "bad\0id"):
        assert image_id not in store
        with pytest.raises(ImageError):
            store.open(image_id)


def test_an_exact_id_goes_before_one_with_an_extension(tmp_path):
    for name, seed in [("a/photo.jpg", 1), ("b/photo", 2)]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(photo(seed=seed)))
    store = ImageStore.from_paths([tmp_path / "a", tmp_path / "b"])
    assert (pixels(store.open("photo")) == pixels(photo(seed=2))).all()


def test_first_source_answers(gallery, tmp_path):
    tar_path, _ = gallery
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "gallery_000001.png").write_bytes(encoded(photo(seed=500)))
    for paths, seed in [([folder, tar_path], 500), ([tar_path, folder], 1)]:
        image = ImageStore.from_paths(paths).open("gallery_000001.png")
        assert (pixels(image) == pixels(photo(seed=seed))).all()


def test_wrong_paths(gallery, tmp_path):
    tar_path, _ = gallery
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageStore.from_paths([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tar"):
        ImageStore.from_paths([tmp_path / "nowhere.tar"])
    with pytest.raises(FileNotFoundError, match=r"no\.pkl"):
        ImageStore.from_paths([tar_path], tar_index=str(tmp_path / "no.pkl"))
    with pytest.raises(ValueError, match="several"):
        ImageStore.from_paths([tar_path, tar_path], tar_index=str(tmp_path / "tar_index.pkl"))
    (tmp_path / "not.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(tarfile.ReadError):
        write_tar_index(tmp_path / "not.tar", tmp_path / "not.pkl")
    assert not (tmp_path / "not.pkl").exists()


# ---- processes ----


class Photos(Dataset):
    def __init__(self, store, names):
        self.store, self.names = store, names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return self.store.open(self.names[index]).tobytes()


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])  # to start a process anew takes seconds
def test_workers_share_one_store(gallery, method, workers):
    """Several readers at once on a tar that the parent has open: each gets the bytes of each photo."""
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    store.open("gallery_000000.png")  # opens tar and index before the workers start
    names = list(expected) * 10
    photos = DataLoader(
        Photos(store, names), batch_size=4, num_workers=workers, collate_fn=list, multiprocessing_context=method
    )
    assert [data for batch in photos for data in batch] == [expected[name].tobytes() for name in names]
    assert pixels(store.open("gallery_000001.png")).tolist() == pixels(expected["gallery_000001.png"]).tolist()


def test_threads_share_one_store(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    names = list(expected) * 10
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: store.open(name).tobytes(), names)) == [expected[n].tobytes() for n in names]
