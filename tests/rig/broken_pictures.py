"""Files that would be pictures if all were well with them: as many as wanted, the same for the same seed."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def sound(draw: random.Random, kind: str) -> bytes:
    """A good picture of up to 96 x 96 pixels."""
    size = draw.randint(1, 96), draw.randint(1, 96)
    modes = {
        "JPEG": ("RGB", "L", "CMYK"),
        "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
        "WEBP": ("RGB", "RGBA"),
    }
    mode = draw.choice(modes.get(kind, ("RGB",)))
    depth = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2, "P": 1, "CMYK": 4, "I;16": 2}.get(mode)
    if depth is None:
        picture = Image.new(mode, size, draw.randint(0, 1))
    else:
        picture = Image.frombytes(mode, size, draw.randbytes(size[0] * size[1] * depth))
    options: dict[str, object] = {"progressive": draw.random() < 0.5} if kind == "JPEG" else {}
    if kind in ("PNG", "WEBP") and draw.random() < 0.3 and mode in ("RGB", "RGBA"):
        options = {"save_all": True, "append_images": [picture.rotate(90)] * draw.randint(1, 3)}
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    head = chunk(
        b"IHDR", struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, 0)
    )
    return PNG_HEAD + head + b"".join(chunks) + chunk(b"IEND", b"")


def any_kind(draw: random.Random) -> bytes:
    return sound(draw, draw.choice(("PNG", "JPEG", "WEBP")))


def truncated(draw: random.Random) -> bytes:
    whole = any_kind(draw)
    return whole[: draw.randrange(len(whole))]


def flipped(draw: random.Random) -> bytes:
    raw = bytearray(any_kind(draw))
    for _ in range(draw.randint(1, 40)):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    return bytes(raw)


def flipped_head(draw: random.Random) -> bytes:
    raw = bytearray(any_kind(draw))
    for _ in range(draw.randint(1, 6)):
        raw[draw.randrange(min(64, len(raw)))] = draw.randrange(256)
    return bytes(raw)


def shuffled(draw: random.Random) -> bytes:
    """Pieces of pictures, in another order, some twice, of several formats."""
    pieces = []
    for _ in range(draw.randint(2, 6)):
        raw = any_kind(draw)
        start = draw.randrange(len(raw))
        pieces.append(raw[start : start + draw.randint(1, 400)])
    return any_kind(draw)[:20] + b"".join(pieces)


def wrong_head(draw: random.Random) -> bytes:
    heads = (
        PNG_HEAD,
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"RIFF\x20\0\0\0WEBPVP8X",
    )
    return draw.choice(heads) + any_kind(draw)[draw.randint(4, 30) :]


def huge(draw: random.Random) -> bytes:
    """A small file that claims to be enormous, or of no size."""
    sides = (0, 1, 20_000, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
    width, height = draw.choice(sides), draw.choice(sides)
    if draw.random() < 0.5:
        return png_of(width, height, chunk(b"IDAT", zlib.compress(b"\0" * 5000)))
    if draw.random() < 0.5:
        raw = bytearray(sound(draw, "JPEG"))
        frame = max(raw.find(b"\xff\xc0"), raw.find(b"\xff\xc2"))
        raw[frame + 5 : frame + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
        return bytes(raw)
    body = (
        b"VP8X\x0a\0\0\0\x10\0\0\0" + struct.pack("<I", width & 0xFFFFFF)[:3] + struct.pack("<I", height)[:3]
    )
    body += sound(draw, "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bomb(draw: random.Random) -> bytes:
    """Far more behind its compression than its size tells: in pixels, text, or a colour profile."""
    much = zlib.compress(b"\0" * 30_000_000, 9)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * (64 * 64 * 3 + 64)))
    where = draw.randrange(5)
    if where == 0:
        return png_of(64, 64, chunk(b"IDAT", much))
    if where == 1:
        return png_of(64, 64, chunk(b"zTXt", b"Comment\0\0" + much), rows)
    if where == 2:
        return png_of(64, 64, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + much), rows)
    if where == 3:
        return png_of(64, 64, chunk(b"iCCP", b"p\0\0" + much), rows)
    return png_of(64, 64, *[chunk(b"zTXt", b"Comment\0\0" + much)] * 20, rows)


def repainted(draw: random.Random) -> bytes:
    """A JPEG with its last scan again and again."""
    out = io.BytesIO()
    Image.effect_noise((96, 96), 80).save(out, "JPEG", progressive=True)
    raw = out.getvalue()
    scan = raw[raw.rindex(b"\xff\xda") : -2]
    return raw[:-2] + scan * draw.choice((50, 500, 3000)) + raw[-2:]


def polyglot(draw: random.Random) -> bytes:
    """A picture that is something else as well."""
    raw, packed = any_kind(draw), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 5_000_000)
    others = (
        packed.getvalue(),
        b"<html><script>alert(1)</script>",
        b"%PDF-1.7\n",
        b"#!/bin/sh\nid\n",
        b"GIF89a\1\0\1\0\0\0\0;",
        b"\x7fELF" + bytes(60),
    )
    other = draw.choice(others)
    return raw + other if draw.random() < 0.5 else other + raw


def other_format(draw: random.Random) -> bytes:
    """Whole files of formats that Pillow would read if it were let."""
    kind = draw.choice(
        ("TIFF", "GIF", "BMP", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "AVIF", "DDS", "MPO")
    )
    out = io.BytesIO()
    try:
        Image.new("RGB", (32, 32), (9, 9, 9)).save(out, kind)
    except (OSError, KeyError):  # not every build of Pillow writes them all
        return b"\0\0\0\x20ftypavif" + draw.randbytes(200)
    return out.getvalue()


def strange_tiff(draw: random.Random) -> bytes:
    """Directories that point at themselves, count billions of entries, or strips that lie nowhere."""
    head = draw.choice((b"II*\0", b"MM\0*", b"II+\0"))
    entries = b"".join(
        struct.pack(
            "<HHII",
            draw.choice((256, 257, 259, 273, 279, 330)),
            draw.randint(0, 13),
            *draw.choices((1, 8, 2**32 - 1), k=2),
        )
        for _ in range(draw.randint(0, 20))
    )
    return (
        head
        + struct.pack("<I", 8)
        + struct.pack("<H", draw.choice((1, 20, 65535)))
        + entries
        + struct.pack("<I", 8)
    )


def text(draw: random.Random) -> bytes:
    nested = b"<!DOCTYPE svg [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;&a;'>]><svg>&b;</svg>"
    files = (
        b"",
        b"\0" * draw.randint(1, 5000),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><image href='file:///etc/passwd'/></svg>",
        nested,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        draw.randbytes(draw.randint(1, 3000)),
    )
    return draw.choice(files)


def odd_chunks(draw: random.Random) -> bytes:
    """PNGs whose chunks lie about their length, come without what they need, or in no order."""
    rows = chunk(b"IDAT", zlib.compress(draw.randbytes(64 * 64 * 3 + 64)))
    long = struct.pack(">I", draw.choice((2**31 - 1, 2**32 - 1, 70_000))) + b"IDAT" + draw.randbytes(50)
    files = (
        png_of(64, 64, long),
        png_of(64, 64, rows, colour=3),
        png_of(64, 64, rows, depth=draw.randrange(256), colour=draw.randrange(256)),
        png_of(64, 64, chunk(b"tRNS", draw.randbytes(7)), chunk(b"PLTE", draw.randbytes(5)), rows),
        png_of(
            64, 64, chunk(b"acTL", struct.pack(">II", 2**31, 0)), chunk(b"fcTL", draw.randbytes(26)), rows
        ),
        png_of(64, 64, chunk(b"eXIf", b"MM\0*" + draw.randbytes(60)), rows),
        PNG_HEAD + rows + chunk(b"IEND", b""),
        png_of(64, 64),
        png_of(64, 64, *[chunk(b"tEXt", b"k\0" + draw.randbytes(20))] * 2000, rows),
    )
    return draw.choice(files)


def exif(draw: random.Random) -> bytes:
    """A JPEG whose orientation is written by somebody with other ideas."""
    out = io.BytesIO()
    wrong = b"Exif\0\0" + draw.choice((b"MM\0*", b"II*\0", b"")) + draw.randbytes(draw.randint(0, 300))
    Image.new("RGB", (40, 30), (200, 10, 10)).save(out, "JPEG", exif=wrong)
    return out.getvalue()


KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    truncated,
    flipped,
    flipped_head,
    shuffled,
    wrong_head,
    huge,
    bomb,
    repainted,
    polyglot,
    other_format,
    strange_tiff,
    text,
    odd_chunks,
    exif,
)


def broken_pictures(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` files, one kind after the other, each with the name of its kind."""
    draw = random.Random(seed)
    for index in range(count):
        make = KINDS[index % len(KINDS)]
        yield f"{make.__name__}-{index}", make(draw)
