"""A client's picture: what is refused before it can hurt, and what the rest becomes."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from service.contracts.request import Fit
from service.pictures.normalise import normalise_picture
from service.refusals import InvalidFields

Png = Callable[..., bytes]
LIMIT = 1_000_000


def decoded(raw: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(raw))
    picture.load()
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png_file(head: bytes, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def header_only_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_file(head, b"\0" * 1000)


def refusal(raw: bytes, fit: Fit = Fit.COVER) -> str:
    with pytest.raises(InvalidFields) as caught:
        normalise_picture(raw, size=(64, 64), fit=fit, max_pixels=LIMIT)
    (fault,) = caught.value.faults
    assert fault.field == "input_reference"
    return fault.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_format_becomes_a_plain_png(png: Png, kind: str) -> None:
    made = decoded(normalise_picture(png(64, 64, kind=kind), size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert (made.format, made.mode, made.size) == ("PNG", "RGB", (64, 64))
    assert made.getpixel((32, 32)) == pytest.approx((10, 200, 30), abs=6)


@pytest.mark.parametrize("side", [2_000, 10_000, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    assert str(LIMIT) in refusal(header_only_png(side, side))


def test_a_bomb_is_refused_where_pillow_only_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in production: a warning there stops nothing
        assert "10000x10000" in refusal(header_only_png(10_000, 10_000))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello, I am a text file",
        b"GIF89a" + b"\0" * 40,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x10\0\0\0WEBPVP8X",
        b"\xff\xd8\xff\xe0",
    ],
)
def test_what_is_no_picture_is_refused(raw: bytes) -> None:
    assert "PNG, JPEG or WebP" in refusal(raw)


def test_a_gif_is_refused_even_if_whole() -> None:
    assert "PNG, JPEG or WebP" in refusal(encoded(Image.new("P", (64, 64)), "GIF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noisy = Image.effect_noise((64, 64), 80).convert("RGB")
    whole = encoded(noisy, kind)
    assert "input_reference" in refusal(whole[: len(whole) // 2])


def test_exact_names_both_sizes(png: Png) -> None:
    message = refusal(png(80, 40), Fit.EXACT)
    assert "80x40" in message
    assert "64x64" in message


def test_cover_cuts_and_contain_keeps(png: Png) -> None:
    halves = Image.new("RGB", (200, 100), (255, 0, 0))
    halves.paste((0, 0, 255), (100, 0, 200, 100))
    raw = encoded(halves)
    covered = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.COVER, max_pixels=LIMIT))
    assert covered.size == (64, 64)
    assert covered.getpixel((2, 2)) == (255, 0, 0)
    assert covered.getpixel((61, 61)) == (0, 0, 255)
    contained = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.CONTAIN, max_pixels=LIMIT))
    assert contained.size == (64, 64)
    assert contained.getpixel((32, 2)) == (0, 0, 0)
    assert contained.getpixel((2, 32)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
@pytest.mark.parametrize("fit", [Fit.COVER, Fit.CONTAIN])
def test_odd_shapes_fit_too(png: Png, size: tuple[int, int], fit: Fit) -> None:
    made = normalise_picture(png(*size), size=(96, 64), fit=fit, max_pixels=LIMIT)
    assert decoded(made).size == (96, 64)


def test_exif_orientation_is_applied_and_metadata_is_dropped() -> None:
    sideways = Image.new("RGB", (96, 64), (255, 0, 0))
    sideways.paste((0, 0, 255), (48, 0, 96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    exif[0x010E] = "where I live"
    raw = encoded(sideways, "JPEG", exif=exif, quality=95)
    made = normalise_picture(raw, size=(64, 96), fit=Fit.EXACT, max_pixels=LIMIT)
    upright = decoded(made)
    assert upright.getpixel((32, 5)) == pytest.approx((255, 0, 0), abs=8)
    assert upright.getpixel((32, 90)) == pytest.approx((0, 0, 255), abs=8)
    assert b"where I live" not in made
    assert not upright.getexif()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    raw = encoded(clear.convert(mode) if mode != "PA" else clear.convert("P"))
    made = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert made.getpixel((10, 10)) == (255, 255, 255)


def test_sixteen_bits_of_grey_are_scaled_not_clipped() -> None:
    grey = Image.new("I;16", (64, 64), 0x8000)
    made = decoded(normalise_picture(encoded(grey), size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert made.getpixel((0, 0)) == (128, 128, 128)


def test_an_animation_gives_its_first_picture() -> None:
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    raw = encoded(first, "PNG", save_all=True, append_images=[second])
    made = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert made.getpixel((0, 0)) == (255, 0, 0)
    assert not getattr(made, "is_animated", False)


def test_an_animated_webp_gives_its_first_picture() -> None:
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    raw = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    made = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert made.getpixel((0, 0)) == (255, 0, 0)


def sixteen_bit_png(levels: tuple[int, int, int]) -> bytes:
    """64 x 64 pixels of one colour, 16 bits a channel, which Pillow cannot write itself."""

    head = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    rows = (b"\0" + struct.pack(">HHH", *levels) * 64) * 64
    return png_file(head, rows)


@pytest.mark.parametrize(
    ("raw", "colour"),
    [
        (encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
        (sixteen_bit_png((0xC000, 0x4000, 0xFFFF)), (192, 64, 255)),
        (encoded(Image.new("1", (64, 64), 1)), (255, 255, 255)),
        (encoded(Image.new("P", (64, 64), 0)), (0, 0, 0)),
        (encoded(Image.new("L", (64, 64), 77), "JPEG", quality=95), (77, 77, 77)),
    ],
)
def test_each_way_to_say_a_colour_is_read(raw: bytes, colour: tuple[int, int, int]) -> None:
    made = decoded(normalise_picture(raw, size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT))
    assert made.mode == "RGB"
    assert made.getpixel((5, 5)) == pytest.approx(colour, abs=3)


def test_a_jpeg_that_paints_itself_over_and_over_is_refused() -> None:
    """A hundred thousand such scans of a few bytes each would keep a thread busy for many minutes."""
    plain = Image.effect_noise((64, 64), 80).convert("RGB")
    raw = encoded(plain, "JPEG", progressive=True)
    scans = raw.count(b"\xff\xda")
    assert 5 < scans < 20
    assert normalise_picture(raw, size=(64, 64), fit=Fit.EXACT, max_pixels=LIMIT)
    last = raw[raw.rindex(b"\xff\xda") : -2]
    assert f"at most 100 scans, got {scans + 200}" in refusal(raw[:-2] + last * 200 + raw[-2:])
