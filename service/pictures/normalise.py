"""The client's own picture: refused before it can hurt, then turned into the PNG that stage 2 starts from."""

import io
from collections.abc import Callable

from PIL import Image, ImageOps

from service.contracts.request import Fit
from service.fields.video import PICTURE_FIELD
from service.refusals import FieldFault, InvalidFields

FORMATS = ("PNG", "JPEG", "WEBP")
#: A progressive JPEG paints itself over in as many scans as its author likes, some hardly a byte long, and
#: each costs a walk over every pixel. Cameras and libraries write about ten, and a thumbnail's.
MAX_JPEG_SCANS = 100
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

#: A marker of JPEG, which compressed pixels cannot contain: there 00 follows each FF (ITU T.81, B.1.1.5).
_START_OF_SCAN = b"\xff\xda"

Size = tuple[int, int]


def normalise_picture(raw: bytes, *, size: Size, fit: Fit, max_pixels: int) -> bytes:
    """An RGB PNG of exactly `size` (width, height), without metadata, from a PNG, JPEG or WebP file.

    The header's width x height is compared with `max_pixels` before a single pixel is decoded, so a small
    file cannot unpack into gigabytes; nor may a JPEG have more than MAX_JPEG_SCANS scans. EXIF orientation is
    applied, transparency is laid over white, and of an animation the first picture counts. `fit`: EXACT wants
    the size as it is, COVER scales and cuts the overhang off evenly, CONTAIN scales and adds black borders.
    Raises InvalidFields.
    """
    picture = _opened(raw, max_pixels)
    upright = _upright_rgb(picture)
    if fit is Fit.EXACT and upright.size != size:
        raise _refused(
            f"{upright.width}x{upright.height}",
            f"{size[0]}x{size[1]} pixels with fit=exact",
            f"{PICTURE_FIELD} is {upright.width}x{upright.height} pixels, the video is {size[0]}x{size[1]}: "
            "send that size, or fit=cover or fit=contain",
        )
    return _png(_FITTED[fit](upright, size))


def _opened(raw: bytes, max_pixels: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(raw), formats=FORMATS)  # reads the header only
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels("far more", max_pixels) from None
    except Exception:  # noqa: BLE001 - PIL meets hostile bytes with any exception there is
        raise _refused(
            f"{len(raw)} bytes",
            "a PNG, JPEG or WebP file",
            f"{PICTURE_FIELD} is not a PNG, JPEG or WebP picture",
        ) from None
    if picture.width * picture.height > max_pixels:
        raise _too_many_pixels(f"{picture.width}x{picture.height}", max_pixels)
    if (scans := raw.count(_START_OF_SCAN)) > MAX_JPEG_SCANS and raw.startswith(b"\xff\xd8"):
        bound = f"at most {MAX_JPEG_SCANS} scans"
        raise _refused(f"{scans} scans", bound, f"{PICTURE_FIELD} must be a JPEG of {bound}, got {scans}")
    return picture


def _upright_rgb(picture: Image.Image) -> Image.Image:
    try:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):  # 16 bits of grey: convert() would clip them, not scale them
            upright = upright.convert("I").point(lambda level: level / 256).convert("L")
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            ground = Image.new("RGBA", layer.size, (*WHITE, 255))
            upright = Image.alpha_composite(ground, layer)
        return upright.convert("RGB")
    except Exception as problem:  # noqa: BLE001 - as above: the header was fine, the rest need not be
        raise _refused(
            f"{picture.format} file",
            "a complete PNG, JPEG or WebP file",
            f"{PICTURE_FIELD} is a damaged or truncated {picture.format} file ({problem})",
        ) from None


def _covering(picture: Image.Image, size: Size) -> Image.Image:
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


def _contained(picture: Image.Image, size: Size) -> Image.Image:
    return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=BLACK)


def _unchanged(picture: Image.Image, _size: Size) -> Image.Image:
    return picture


_FITTED: dict[Fit, Callable[[Image.Image, Size], Image.Image]] = {
    Fit.EXACT: _unchanged,
    Fit.COVER: _covering,
    Fit.CONTAIN: _contained,
}


def _png(picture: Image.Image) -> bytes:
    bare = Image.frombytes(
        "RGB", picture.size, picture.tobytes()
    )  # pixels only: no EXIF, no place, no profile
    out = io.BytesIO()
    bare.save(out, "PNG")
    return out.getvalue()


def _too_many_pixels(found: str, max_pixels: int) -> InvalidFields:
    bound = f"at most {max_pixels} pixels"
    return _refused(found, bound, f"{PICTURE_FIELD} must have {bound}, got {found}")


def _refused(found: str, bound: str, message: str) -> InvalidFields:
    return InvalidFields([FieldFault(PICTURE_FIELD, found, bound, message)])
