"""Which format a component runs in, what crosses the border, and what never becomes a picture."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.cinema import Cinema
from models.errors import NonFiniteLatents, NonFinitePixels
from models.nano import write_nano
from models.orders import PictureOrder
from models.precision import PrecisionBorder, component_dtype, network_dtype
from models.residency import Residency
from models.vae import PictureCodec
from models.weights import load_parts

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
PICTURE = PictureOrder("a red circle", "", 3, 2, 2.0, 32, 32)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, torch.float16),
        ({"_class_name": "UNet2DConditionModel"}, torch.float16),
        ({"torch_dtype": "float32"}, torch.float16),  # how it was stored is no wish
        ({"dtype": "bfloat16"}, torch.bfloat16),
        ({"torch_dtype": "torch.bfloat16"}, torch.bfloat16),
        ({"_class_name": "SD3Transformer2DModel"}, torch.bfloat16),
        ({"_class_name": "WanTransformer3DModel", "torch_dtype": "float16"}, torch.bfloat16),
        ({"model_type": "t5"}, torch.bfloat16),
        ({"model_type": "clip_text_model"}, torch.float16),
        ({"_class_name": "AutoencoderKL", "force_upcast": True}, torch.float32),
        ({"_class_name": "AutoencoderKL", "force_upcast": False}, torch.float16),
    ],
)
def test_a_component_may_ask_on_cuda_and_never_on_a_cpu(config: dict[str, object], wanted: Any) -> None:
    assert network_dtype(CUDA, config) is wanted
    assert network_dtype(CPU, config) is torch.float32


def test_a_folder_converted_on_a_cpu_keeps_the_format_that_was_asked_for() -> None:
    assert component_dtype({"force_upcast": True}, CPU, torch.float16) is torch.float16
    assert component_dtype({"force_upcast": True}, CUDA, torch.float16) is torch.float32
    assert component_dtype({}, CUDA, torch.float32) is torch.float32


def test_the_border_refuses_latents_that_lost_precision_outside() -> None:
    border = PrecisionBorder(torch.float16)
    assert border.latents(torch.zeros(2)).dtype is torch.float16
    assert border.condition(torch.zeros(2, dtype=torch.float64)).dtype is torch.float16
    assert border.outward(torch.zeros(2, dtype=torch.bfloat16)).dtype is torch.float32
    with pytest.raises(TypeError, match=r"must be float32 outside the networks, got torch\.float16"):
        border.latents(torch.zeros(2, dtype=torch.float16))


# -- never a black picture -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano")
    write_nano(path)
    return path


def finish(work: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def spoil(bias: Tensor, value: float) -> None:
    with torch.no_grad():
        bias.fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stage_one_ends_with_an_error_instead_of_a_black_picture(folder: Path, value: float) -> None:
    cinema = Cinema.load(folder, device="cpu")
    spoil(cinema._stage_one._unet.conv_out.bias, value)
    with pytest.raises(NonFiniteLatents, match="picture at 32x32 are not finite after 2 steps"):
        finish(cinema.paint([PICTURE]))


def test_a_decoder_or_encoder_that_overflows_is_an_error_too(folder: Path) -> None:
    vae = load_parts(folder, CPU, torch.float32).vae
    codec = PictureCodec(vae)
    z = torch.zeros(4, 8, 8)
    picture = codec.decode(z)
    spoil(vae.decoder.conv_out.bias, float("inf"))
    with pytest.raises(NonFinitePixels, match=r"not finite in torch\.float32"):
        codec.decode(z)
    spoil(vae.encoder.conv_out.bias, float("nan"))
    with pytest.raises(NonFiniteLatents, match="the picture's latents"):
        codec.encode([picture])


# -- the decoder, by chunks ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codec(folder: Path) -> PictureCodec:
    return PictureCodec(load_parts(folder, CPU, torch.float32).vae)


@pytest.mark.parametrize("chunk", [2, 3, 7, 20])
def test_chunks_decode_to_what_single_frames_decode_to(codec: PictureCodec, chunk: int) -> None:
    z = torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    alone = torch.cat([codec.pixels(frame[None]) for frame in z])
    together = torch.cat([codec.pixels(part) for part in torch.split(z, chunk)])
    assert (alone - together).abs().max() <= 1e-5
    assert alone.std() > 1e-3
    frames, by_one = list(codec.decode_clip(z, chunk)), list(codec.decode_clip(z, 1))
    assert len(frames) == len(by_one) == 7
    for one, other in zip(frames, by_one, strict=True):
        assert abs(one.astype(int) - other.astype(int)).max() <= 1  # a level, where rounding tips over


def test_a_chunk_below_one_is_named(codec: PictureCodec) -> None:
    with pytest.raises(ValueError, match="chunk 0 is less than 1"):
        next(codec.decode_clip(torch.zeros(1, 4, 8, 8), 0))


# -- networks that wait on the host --------------------------------------------------------------------------


class Traveller(nn.Module):
    """Writes down where it was sent; too large for a device that is full."""

    def __init__(self, name: str, journal: list[tuple[str, str]]) -> None:
        super().__init__()
        self.name, self.journal, self.full = name, journal, False

    def to(self, where: Any) -> Traveller:  # type: ignore[override]
        if self.full and where.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.journal.append((self.name, where.type))
        return self


def test_networks_stay_until_they_are_told_to_park_and_leave_before_others_come() -> None:
    journal: list[tuple[str, str]] = []
    text, vae, appearnet = (Traveller(name, journal) for name in ("text", "vae", "appearnet"))
    residency = Residency(CUDA, text, vae, appearnet)
    residency.only(appearnet)
    assert journal == []
    residency.park_idle = True
    residency.only(appearnet)
    residency.only(appearnet)
    assert journal == [("text", "cpu"), ("vae", "cpu")]
    residency.only(vae)
    assert journal[2:] == [("appearnet", "cpu"), ("vae", "cuda")]
    residency.park_idle = False
    residency.only(vae)
    assert sorted(journal[4:]) == [("appearnet", "cuda"), ("text", "cuda")]


def test_a_network_that_found_no_room_is_fetched_by_the_next_stage() -> None:
    journal: list[tuple[str, str]] = []
    text = Traveller("text", journal)
    residency = Residency(CUDA, text)
    residency.park_idle = True
    residency.only()
    text.full = True
    with pytest.raises(torch.OutOfMemoryError):
        residency.only(text)
    text.full = False
    residency.only(text)
    assert journal == [("text", "cpu"), ("text", "cuda")]
