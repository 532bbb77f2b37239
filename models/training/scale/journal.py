"""What a training shows while it runs: scalars and films for TensorBoard, films as MP4 files beside them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from models.training import h264
from models.training.loop import write_atomically
from models.training.scale.footage import Frames


class Journal:
    """Of one run, in `folder`; going on at `step` takes back what was noted behind it."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def film(self, step: int, name: str, prompt: str, frames: Frames, fps: int) -> Path:
        """Write uint8 (F, H, W, 3) as `films/step-...-NAME.mp4`, and into TensorBoard as a moving picture.

        TensorBoard plays GIFs; its own `add_video` would need moviepy to make one.
        """
        path = self.folder / "films" / f"step-{step:09d}-{name}.mp4"
        body = h264.encode(frames, fps)
        write_atomically(path, lambda partial: _put(partial, body))
        height, width = frames.shape[1:3]
        picture = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=gif(frames, fps)
        )
        summary = Summary(value=[Summary.Value(tag=f"film/{name}", image=picture)])
        self._writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]
        self._writer.add_text(f"prompt/{name}", prompt, step)
        self._writer.flush()
        return path

    def close(self) -> None:
        self._writer.close()


def gif(frames: Frames, fps: int) -> bytes:
    """An endless GIF of uint8 (F, H, W, 3)."""
    pictures = [Image.fromarray(frame) for frame in frames]
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
    )
    return out.getvalue()


def _put(path: Path, body: bytes) -> None:
    path.write_bytes(body)
