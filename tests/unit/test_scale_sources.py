"""Sources of clips and what stands in front of the loss: nothing hangs on who loads what, or when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rig.footage import mp4
from rig.scale import prepare, write_config

from models.nano import write_nano
from models.spec import NANO
from models.training import video_set
from models.training.config import table
from models.training.objective import Objective
from models.training.scale import train
from models.training.scale.conditions import Conditions
from models.training.scale.networks import Start, begin
from models.training.scale.pack import Demand, pack
from models.training.scale.plan import Clips, PreviewPlan, ScalePlan
from models.training.scale.shards import BadShards
from models.training.scale.sources import Batch, ShardClips, StoredClips
from models.training.video_set import ClipSet, VideoSet
from models.vae import PictureCodec
from models.weights import Parts

CLIPS = Clips(frames=4, fps=8, width=32, height=32)
OBJECTIVE = Objective(0.00085, 0.012, 1000, snr_cap=float("inf"), text_dropped=0.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scale"))


@pytest.fixture(scope="module")
def parts(folder: Path) -> Parts:
    return begin(Start(str(folder / "nano")), CPU, seed=0)


@pytest.fixture
def stored() -> VideoSet:
    latents = np.random.default_rng(0).normal(size=(10, 4, 4, 8, 8)).astype(np.float16)
    return VideoSet(ClipSet(clips=10, frames=4, size=32, seed=1), latents)


def taken(batches: Iterator[Batch], count: int) -> list[tuple[bytes, list[str]]]:
    return [(np.asarray(batch.clips).tobytes(), batch.captions) for batch in islice(batches, count)]


@pytest.mark.parametrize("kind", ["shards", "stored"])
def test_a_batch_is_a_function_of_its_number(kind: str, folder: Path, stored: VideoSet) -> None:
    def open_source(process: int = 0, seed: int = 4) -> ShardClips | StoredClips:
        if kind == "stored":
            return StoredClips(stored, OBJECTIVE, 2, seed, process)
        return ShardClips.open(folder / "shards", CLIPS, 2, seed, process, 2)

    row = taken(open_source().batches(0, 1), 9)
    assert taken(open_source().batches(5, 1), 3) == row[5:8]
    assert taken(open_source().batches(1, 3), 3) == row[1::3]
    assert taken(open_source(process=1).batches(0, 1), 2) != row[:2]
    assert taken(open_source(seed=5).batches(0, 1), 2) != row[:2]


def test_clips_come_from_their_videos_and_start_anywhere(folder: Path) -> None:
    source = ShardClips.open(folder / "shards", CLIPS, 1, 0, 0, 1)
    starts: dict[str, set[bytes]] = {}
    for batch in islice(source.batches(0, 1), 7 * 12):
        assert batch.clips.shape == (1, 4, 32, 32, 3)
        starts.setdefault(batch.captions[0], set()).add(np.asarray(batch.clips).tobytes())
    assert set(starts) == {f"camera number {n} pans" for n in range(7)}
    assert min(len(each) for each in starts.values()) >= 3  # of 5 to 11 possible ones


def test_a_shard_that_went_bad_is_named_with_the_clip(folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(mp4(np.zeros((8, 32, 32, 3), np.uint8)))
    (videos / "a.txt").write_text("darkness")
    pack(videos, tmp_path / "shards", Demand(CLIPS.rule, 32, 32))
    shard = tmp_path / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"moov", b"xxxx"))
    source = ShardClips.open(tmp_path / "shards", CLIPS, 1, 0, 0, 1)
    with pytest.raises(BadShards, match=r"000000\.tar: a\.mp4: it does not decode.*pack these shards anew"):
        next(source.batches(0, 1))


def test_the_keyframe_is_the_centre_and_latents_are_the_autoencoders(folder: Path, parts: Parts) -> None:
    batch = next(ShardClips.open(folder / "shards", CLIPS, 2, 0, 0, 1).batches(0, 1))
    example = Conditions(parts, OBJECTIVE, CPU, encode_together=3).prepare(batch, np.random.default_rng(0))
    codec = PictureCodec(parts.vae)
    for row in range(2):
        for frame in range(4):
            alone = codec.encode([np.asarray(batch.clips)[row, frame]])[0]
            torch.testing.assert_close(example.clean[row, frame], alone, rtol=0, atol=1e-5)
        assert torch.equal(example.z_c[row], example.clean[row, 2])
    assert not example.text.is_inference()


def test_shares_of_redrawn_keyframes_and_dropped_captions(parts: Parts, stored: VideoSet) -> None:
    objective = Objective(0.00085, 0.012, 1000, snr_cap=5.0, text_dropped=0.1, redrawn_share=0.5)
    conditions = Conditions(parts, objective, CPU, encode_together=8)
    empty = conditions.prepare(Batch(torch.zeros(1, 4, 4, 8, 8), [""]), np.random.default_rng(0)).text[0]
    dropped = redrawn = 0
    rng = np.random.default_rng(1)
    for batch in islice(StoredClips(stored, objective, 10, 0).batches(0, 1), 30):
        example = conditions.prepare(batch, rng)
        dropped += sum(torch.equal(text, empty) for text in example.text)
        redrawn += sum(not torch.equal(z, c[2]) for z, c in zip(example.z_c, example.clean, strict=True))
    assert 14 <= dropped <= 50  # of 300
    assert 115 <= redrawn <= 185


@pytest.mark.parametrize("name", ["sd21.toml", "micro.toml"])
def test_shipped_configs_are_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(train.__file__).with_name(name)
    monkeypatch.chdir(Path(video_set.__file__).parents[2])  # its paths are the repository's
    for each, kind in (("plan", ScalePlan), ("clips", Clips), ("start", Start)):
        table(path, each, kind)
    assert train.read_objective(path).appearance_weight == 0.03
    assert table(path, "previews", PreviewPlan).every > 0
    assert table(path, "result", train.Result).dtype == "fp16"


def test_stored_latents_train_a_stable_diffusion_folder(tmp_path: Path, stored: VideoSet) -> None:
    """The micro way: stage 1's folder in, latents of the procedural world, one folder out."""
    write_nano(tmp_path / "nano", spec=NANO)
    for name in ("temporal", "appearnet", "cinema.json", "manifest.json"):
        (tmp_path / "nano" / name).rename(tmp_path / name)
    np.save(tmp_path / "latents.npy", stored.latents)
    (tmp_path / "clips.toml").write_text("[clips]\nclips = 10\nframes = 4\nsize = 32\nseed = 1\n")
    config = write_config(tmp_path, steps=2)
    text = config.read_text().replace('/nano"', '/nano"\nspec = "nano"')
    files = f'clips = "{tmp_path}/clips.toml"\nobjective = "{config}"'
    source = f'[stored]\nwork = "{tmp_path}"\n{files}'
    config.write_text(text.replace(f'[shards]\nfolder = "{tmp_path}/shards"', source))
    model = train.train(config, tmp_path / "work")
    assert model is not None
    trained = begin(Start(str(model)), CPU, 0)
    assert trained.spec.vocabulary is not None
    assert "red" in trained.spec.vocabulary.telling
    assert bool(trained.main.state_dict()["down_blocks.0.resnets.0.temporal1.conv.weight"].any())
    right = config.read_text()
    config.write_text(right.replace("width = 32", "width = 40"))
    with pytest.raises(ValueError, match=r"size 40x32 takes latents \(4, 8, 10\); the stored ones are"):
        train.train(config, tmp_path / "other")
    config.write_text(right.replace("frames = 4", "frames = 3"))
    with pytest.raises(ValueError, match="frames is 3; the stored clips have 4"):
        train.train(config, tmp_path / "other")
