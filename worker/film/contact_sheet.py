"""Look at a video as one picture: `python -m worker.film.contact_sheet video.mp4 sheet.png --frames 16`.

Also the proof that a downloaded file is what was promised: it ends with 1 and a sentence if the file does not
decode, or decodes to another number of frames than `--frames`.
"""

import argparse
import math
import sys
from pathlib import Path

import av
from PIL import Image

COLUMNS = 8
GAP = 4
#: Small pictures are enlarged by a whole number, so that their pixels stay square and sharp.
SMALLEST_CELL = 128
PAPER = (250, 250, 250)


def decode(video: Path) -> list[Image.Image]:
    """All frames of the first video stream, RGB. Raises av.FFmpegError for a file that is not a video."""
    with av.open(str(video)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def contact_sheet(frames: list[Image.Image]) -> Image.Image:
    """`frames` (at least one, all of one size) in reading order, at most 8 a row."""
    width, height = frames[0].size
    zoom = max(1, math.ceil(SMALLEST_CELL / width))
    cell = (width * zoom, height * zoom)
    columns = min(COLUMNS, len(frames))
    rows = math.ceil(len(frames) / columns)
    size = (GAP + columns * (cell[0] + GAP), GAP + rows * (cell[1] + GAP))
    sheet = Image.new("RGB", size, PAPER)
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        at = (GAP + column * (cell[0] + GAP), GAP + row * (cell[1] + GAP))
        sheet.paste(frame.resize(cell, Image.Resampling.NEAREST), at)
    return sheet


def main(arguments: list[str] | None = None) -> int:
    """0 if `video` holds exactly the promised frames and the sheet was written, else 1 and a sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.film.contact_sheet", description=contact_sheet.__doc__
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--frames", type=int, required=True, help="how many the file must hold")
    chosen = parser.parse_args(arguments)
    try:
        frames = decode(chosen.video)
    except (av.FFmpegError, IndexError) as error:  # IndexError: a container without a video stream
        return _complain(f"{chosen.video} does not decode: {error}")
    if len(frames) != chosen.frames or not frames:
        return _complain(f"{chosen.video} has {len(frames)} frames, {chosen.frames} were promised")
    contact_sheet(frames).save(chosen.sheet)
    return 0


def _complain(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
