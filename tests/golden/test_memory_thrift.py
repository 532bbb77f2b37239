"""A model told to be sparing makes the same film, and has no more on the device than the stage needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.cinema import Cinema
from models.nano import write_nano
from models.orders import PictureOrder, VideoOrder
from models.residency import Residency
from models.spec import NANO
from models.stages import Stages
from models.stepwise import result_of
from models.thrift import Thrift

PICTURE = PictureOrder("a red circle", "", 3, 2, 2.0, 32, 32)
VIDEO = VideoOrder("a red circle", "", 3, 2, 2.0, 0.02, 7, 32, 32)


@pytest.fixture
def cinema(tmp_path: Path) -> Cinema:
    write_nano(tmp_path / "nano")
    return Cinema.load(tmp_path / "nano", device="cpu")


def parked(residency: Residency) -> set[str]:
    return {type(network).__name__ for network in residency._away}


def film(cinema: Cinema) -> np.ndarray:
    keyframes = result_of(cinema.paint([PICTURE]))
    return np.stack(list(cinema.decode(result_of(cinema.animate([VIDEO], keyframes))[0]))).astype(int)


@pytest.mark.parametrize("thrift", [Thrift(decode_chunk=3), Thrift(decode_chunk=1, park_idle=True)])
def test_the_film_is_the_same(cinema: Cinema, thrift: Thrift) -> None:
    before = film(cinema)
    cinema.economise(thrift)
    assert np.abs(film(cinema) - before).max() <= 1  # a level, where rounding tips over
    assert before.std() > 1


def test_each_stage_has_on_the_device_what_it_needs(cinema: Cinema) -> None:
    residency = cinema._residency
    keyframes = result_of(cinema.paint([PICTURE]))
    assert parked(residency) == set()
    cinema.economise(Thrift(park_idle=True))
    result_of(cinema.paint([PICTURE]))
    assert parked(residency) == {"AppearNet"}
    work = cinema.animate([VIDEO], keyframes)
    next(work)
    assert parked(residency) == {"CLIPTextModel", "AutoencoderKL"}
    latents = result_of(work)
    next(cinema.decode(latents[0]))
    assert parked(residency) == {"AppearNet"}
    cinema.economise(Thrift())
    result_of(cinema.paint([PICTURE]))
    assert parked(residency) == set()


def test_parking_never_tears_apart_what_both_stages_share(cinema: Cinema) -> None:
    cinema.economise(Thrift(park_idle=True))
    film(cinema)
    flat, inflated = cinema._stage_one._unet.state_dict(), cinema._stage_two._denoiser.main.state_dict()
    assert all(inflated[name].data_ptr() == value.data_ptr() for name, value in flat.items())


def test_a_model_made_of_parts_tells_each_part_once(cinema: Cinema) -> None:
    class Told:
        weight_hash = "f00d"

        def __init__(self) -> None:
            self.thrifts: list[Thrift] = []

        def economise(self, thrift: Thrift) -> None:
            self.thrifts.append(thrift)

        paint = animate = decode = None

    one, other = Told(), Told()
    Stages(NANO, one, other).economise(Thrift(2))  # type: ignore[arg-type]
    assert one.thrifts == other.thrifts == [Thrift(2)]
    Stages(NANO, one, one).economise(Thrift(3))  # type: ignore[arg-type]
    assert one.thrifts == [Thrift(2), Thrift(3)]


def test_the_first_step_of_a_cancelled_stage_leaves_all_in_order(cinema: Cinema) -> None:
    cinema.economise(Thrift(park_idle=True))
    keyframes = result_of(cinema.paint([PICTURE]))
    work = cinema.animate([VIDEO], keyframes)
    next(work)
    work.close()
    cinema.economise(Thrift())
    assert torch.isfinite(result_of(cinema.animate([VIDEO], keyframes))).all()
    assert parked(cinema._residency) == set()
