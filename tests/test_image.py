"""Reading any picture, and writing PNG files that are whole or not there."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from opensam import image
from opensam.image import ImageError, read


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def rgb(rng):
    """A picture without symmetry, smooth enough for JPEG."""
    small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((32, 24), Image.Resampling.BICUBIC))


def encoded(picture, file_format="PNG", **options):
    stream = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def png_header(width, height):
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def is_plain_rgb(array):
    return array.dtype == np.uint8 and array.flags.c_contiguous and array.flags.owndata and array.flags.writeable


# --- sources ------------------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_picture(tmp_path, rgb):
    data = encoded(rgb)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    stream = io.BytesIO(data)
    stream.seek(7)
    for source in (path, str(path), data, stream, Image.open(path), Image.fromarray(rgb), rgb):
        array = read(source)
        np.testing.assert_array_equal(array, rgb)
        assert is_plain_rgb(array)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read(file), rgb)
        assert not file.closed


def test_a_stream_that_cannot_seek_is_read(rgb):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    np.testing.assert_array_equal(read(Pipe(encoded(rgb))), rgb)


def test_the_callers_picture_is_left_alone(rgb):
    array, picture = rgb[:, ::-1].copy(), Image.fromarray(rgb).convert("P")
    picture.getexif()[ExifTags.Base.Orientation] = 6
    before, pixels = array.copy(), picture.tobytes()
    read(array)[:] = 0
    read(picture)[:] = 0
    np.testing.assert_array_equal(array, before)
    assert (picture.size, picture.mode, picture.tobytes()) == ((32, 24), "P", pixels)
    assert picture.getexif()[ExifTags.Base.Orientation] == 6


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], {"a": 1}])
def test_what_is_no_source_is_refused_by_name(source):
    with pytest.raises(ImageError, match=f"expected a path, bytes.* got {type(source).__name__}"):
        read(source)


# --- what a person would see --------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_stands_upright(tmp_path, rgb, file_format, orientation):
    upright = {
        1: rgb, 2: rgb[:, ::-1], 3: rgb[::-1, ::-1], 4: rgb[::-1],
        5: rgb.transpose(1, 0, 2), 6: np.rot90(rgb, -1),
        7: np.rot90(rgb, 2).transpose(1, 0, 2), 8: np.rot90(rgb),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "photo"
    path.write_bytes(encoded(rgb, file_format, exif=exif))
    array = read(path)
    assert array.shape == upright.shape == (*image.size(path), 3)
    assert np.abs(array.astype(int) - upright).mean() < 6  # JPEG and WebP lose a little; a wrong turn is above 30


def test_a_png_that_says_behind_its_pixels_how_it_is_turned_has_one_size(rgb):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = encoded(rgb, "PNG", exif=exif)
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    moved = content[:start] + content[end:last] + content[start:end] + content[last:]
    assert image.size(moved) == image.size(content) == read(moved).shape[:2] == (rgb.shape[1], rgb.shape[0])


def test_damaged_exif_does_not_hide_the_pixels(rgb):
    np.testing.assert_array_equal(read(encoded(rgb, exif=b"Exif\0\0 no tags in here")), rgb)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_show_white_paper(mode):
    picture = Image.new("RGBA", (3, 1), (200, 200, 200, 255))
    picture.putpixel((1, 0), (10, 10, 10, 0))
    picture.putpixel((2, 0), (0, 0, 0, 51))
    array = read(picture.convert(mode))
    expected = [[[200] * 3, [255] * 3, [204] * 3]]
    np.testing.assert_allclose(array, expected, atol=1 if mode != "PA" else 3)


def test_transparent_palette_colour_shows_white_paper():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    np.testing.assert_array_equal(read(encoded(picture)), [[[10, 20, 30], [40, 50, 60]]])
    np.testing.assert_array_equal(read(encoded(picture, transparency=0)), [[[255] * 3, [40, 50, 60]]])
    np.testing.assert_array_equal(read(encoded(picture, transparency=b"\x00\xff")), [[[255] * 3, [40, 50, 60]]])


def test_grey_and_black_and_white(rng):
    grey = rng.integers(0, 256, (5, 6), dtype=np.uint8)
    np.testing.assert_array_equal(read(encoded(grey)), np.dstack([grey] * 3))
    bits = Image.fromarray(grey > 99)
    assert bits.mode == "1"
    np.testing.assert_array_equal(read(encoded(bits)), np.dstack([(grey > 99) * np.uint8(255)] * 3))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_stretched_from_darkest_to_brightest(file_format):
    levels = np.array([[1000, 1500], [2000, 3000]], dtype=np.uint16)
    array = read(encoded(levels, file_format))
    np.testing.assert_array_equal(array[..., 0], [[0, 64], [128, 255]])
    np.testing.assert_array_equal(array, read(levels))


def test_sixteen_bits_of_an_eight_bit_picture_are_that_picture():
    levels = np.arange(256, dtype=np.uint16).reshape(8, 32)
    np.testing.assert_array_equal(read(encoded(levels * 257))[..., 0], levels)
    np.testing.assert_array_equal(read(levels)[..., 0], levels)


@pytest.mark.parametrize("value", [0, 1000, 65535])
def test_sixteen_bits_without_contrast(value):
    assert len(np.unique(read(np.full((4, 4), value, dtype=np.uint16)))) == 1


def test_cmyk():
    ink = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    np.testing.assert_allclose(read(encoded(ink, "JPEG")), np.broadcast_to([255, 0, 0], (4, 4, 3)), atol=3)
    np.testing.assert_array_equal(read(encoded(ink, "TIFF")), np.broadcast_to([255, 0, 0], (4, 4, 3)))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_its_first_frame(file_format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    np.testing.assert_array_equal(read(data), np.broadcast_to([255, 0, 0], (8, 8, 3)))


# --- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[7, 9]], np.uint8), [[[7] * 3, [9] * 3]]),
        (np.array([[[7], [9]]], np.uint8), [[[7] * 3, [9] * 3]]),
        (np.array([[[7, 0], [9, 255]]], np.uint8), [[[255] * 3, [9] * 3]]),
        (np.array([[[1, 2, 3, 255], [1, 2, 3, 0]]], np.uint8), [[[1, 2, 3], [255] * 3]]),
        (np.array([[True, False]]), [[[255] * 3, [0] * 3]]),
        (np.array([[[1, 2, 3], [250, 251, 252]]], np.int64), [[[1, 2, 3], [250, 251, 252]]]),
        (np.array([[-32768, 32767]], np.int16), [[[0] * 3, [255] * 3]]),
        (np.array([[0.0, 1.0]], np.float32), [[[0] * 3, [255] * 3]]),
        (np.array([[[0.2, 0.4, 0.6]]]), [[[51, 102, 153]]]),
        (np.array([[0.0, 0.5]], np.float16), [[[0] * 3, [128] * 3]]),
    ],
)
def test_arrays_of_any_kind(array, expected):
    result = read(array)
    np.testing.assert_array_equal(result, expected)
    assert is_plain_rgb(result)


def test_arrays_in_any_layout(rgb):
    np.testing.assert_array_equal(read(np.asfortranarray(rgb)[::-2, 1:]), rgb[::-2, 1:])
    np.testing.assert_array_equal(read(rgb[::-2, :, 0]), np.dstack([rgb[::-2, :, 0]] * 3))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 5), (8,), (1, 8, 8, 3), (0, 8, 3), (8, 0), ()])
def test_arrays_of_another_shape_are_refused_with_the_fix(shape):
    with pytest.raises(ImageError, match=r"1 to 4 channels, got shape .*np\.moveaxis"):
        read(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("values", [[0, 255.0], [-0.1, 1], [0, 1.01], [0, np.nan], [-np.inf, 0], [0, np.inf]])
def test_floats_that_may_mean_anything_are_refused_with_the_fix(values):
    with pytest.raises(ImageError, match=r"float picture with values in \[0, 1\], got .*astype\(np\.uint8\)"):
        read(np.array([values]))


def test_arrays_of_no_numbers_are_refused():
    with pytest.raises(ImageError, match="array of numbers, got complex128"):
        read(np.zeros((2, 2), complex))


# --- bad files ----------------------------------------------------------------------------------------------


def test_missing_empty_and_foreign_files_are_named(tmp_path):
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.write_bytes(b"")
    text.write_text("no picture at all")
    for use in (read, image.size):
        with pytest.raises(ImageError, match=r"gone\.png as a picture: no such file or directory; check the path"):
            use(tmp_path / "gone.png")
        with pytest.raises(ImageError, match=r"empty\.png as a picture: it is empty \(0 bytes\)"):
            use(empty)
        with pytest.raises(ImageError, match=r"text\.png as a picture: it is in no image format"):
            use(text)
        with pytest.raises(ImageError, match=r"as a picture: is a directory"):
            use(tmp_path)
    with pytest.raises(ImageError, match=r"the given bytes as a picture: it is empty"):
        read(b"")
    with pytest.raises(ImageError, match=r"the given BytesIO as a picture: it is empty"):
        read(io.BytesIO())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_one_clear_error(rng, file_format, part):
    data = encoded(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), file_format)
    with pytest.raises(ImageError, match=r"cannot read the given bytes as a picture: .*; (save|convert)"):
        read(data[: int(len(data) * part)])


def test_garbled_files_are_a_picture_or_one_clear_error(rng):
    data = np.frombuffer(encoded(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)), np.uint8)
    refused = 0
    for _ in range(200):
        damaged = data.copy()
        damaged[rng.integers(8, len(data), 3)] = rng.integers(0, 256, 3)
        try:
            read(damaged.tobytes())
        except ImageError:
            refused += 1
    assert refused > 100


def test_a_truncated_pillow_picture_is_one_clear_error(rng):
    data = encoded(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="the given PngImageFile as a picture"):
        read(Image.open(io.BytesIO(data[:2000])))


def test_decompression_bomb_is_refused_before_it_is_unpacked():
    with pytest.raises(ImageError, match=r"at most 200000000 pixels, got 50000 x 40000 in the given bytes; scale"):
        read(png_header(50000, 40000))


def test_the_limit_is_the_callers():
    picture = encoded(np.zeros((10, 20, 3), np.uint8))
    assert read(picture, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageError, match="at most 199 pixels, got 20 x 10"):
        read(picture, max_pixels=199)
    # Above Pillow's own limit the decoder is asked, and says that the pixels are not there.
    with pytest.raises(ImageError, match="truncated"):
        read(png_header(20000, 10000))


def test_pillows_own_limit_is_as_before(rgb):
    limit = Image.MAX_IMAGE_PIXELS
    data = encoded(rgb)
    threads = [threading.Thread(target=read, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ImageError):
        read(b"nothing")
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("shape", [(1, 1), (1, 10000), (10000, 1)])
def test_the_thinnest_pictures_work(tmp_path, shape):
    path = tmp_path / "thin.png"
    image.write_png(path, np.full((*shape, 3), 7, np.uint8))
    assert read(path).shape == (*shape, 3)
    assert image.size(path) == shape


@pytest.mark.slow
def test_a_photo_of_100_megapixels_works_without_a_warning(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (11600, 8700), (10, 200, 30)).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.size(path) == (8700, 11600)
        array = read(path)
    assert array.shape == (8700, 11600, 3)
    np.testing.assert_allclose(array[::999, ::999], np.broadcast_to([10, 200, 30], (9, 12, 3)), atol=2)


def test_size_does_not_decode(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    path = tmp_path / "promise.png"
    path.write_bytes(png_header(50000, 40000))
    assert image.size(path) == (40000, 50000)
    assert not decoded


# --- writing ------------------------------------------------------------------------------------------------


def test_png_comes_back_as_written(tmp_path, rgb):
    path = tmp_path / "out.png"
    image.write_png(path, rgb)
    np.testing.assert_array_equal(read(path), rgb)
    mask = rgb[..., 0] > 99
    image.write_png(path, mask)
    with Image.open(path) as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), mask * 255)
    cutout = np.dstack([rgb, mask * np.uint8(255)])
    image.write_png(path, cutout)
    with Image.open(path) as written:
        np.testing.assert_array_equal(np.asarray(written), cutout)
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, rgb, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def fail_half_way(_, target, **__):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail_half_way)
    with pytest.raises(OSError, match="No space left"):
        image.write_png(path, rgb)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.png", b"old")]
