"""A folder of videos becomes shards that any WebDataset reader reads, and every refusal is accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import webdataset
from rig.footage import mp4, pan

from models.training.scale.clip_times import ClipRule
from models.training.scale.pack import REPORT, Demand, main, pack
from models.training.scale.shards import INDEX, BadShards, Stream, read_index

RULE = ClipRule(frames=4, fps=8)
DEMAND = Demand(RULE, 32, 32)


def write_video(path: Path, body: bytes, caption: str | None = "a caption") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(7):
        write_video(folder / f"part{n % 2}" / f"clip.{n}.mp4", mp4(pan(n, 10 + n)), f"caption {n} ü\n")
    good = mp4(pan(50, 12))
    write_video(folder / "cut.mp4", mp4(np.concatenate([pan(51, 8), pan(52, 8)])))
    write_video(folder / "short.mp4", mp4(pan(53, 3)))
    write_video(folder / "slow.mp4", mp4(pan(54, 12), fps=4))
    write_video(folder / "small.mp4", mp4(pan(55, 12, side=16)))
    write_video(folder / "half.mp4", good[: len(good) // 2])
    write_video(folder / "mute.mp4", good, caption=None)
    write_video(folder / "blank.mp4", good, caption=" \n")
    write_video(folder / "film.webm", b"whatever")
    write_video(folder / "zz_twin.mp4", (folder / "part0" / "clip.0.mp4").read_bytes())
    write_video(folder / "latin.mp4", good)
    (folder / "latin.txt").write_bytes("ü".encode("latin-1"))
    (folder / "notes.txt").write_text("no video")
    return folder


def test_every_refusal_is_reported_with_its_reason(videos: Path, tmp_path: Path) -> None:
    report = pack(videos, tmp_path, DEMAND, clips_per_shard=3)
    assert json.loads((tmp_path / REPORT).read_text()) == report
    assert (report["looked_at"], report["accepted"]) == (17, 7)
    why = {each["file"]: (each["reason"], each["why"]) for each in report["left_out"]}  # type: ignore[attr-defined]
    assert {file: reason for file, (reason, _) in why.items()} == {
        "cut.mp4": "cut_inside",
        "short.mp4": "too_short",
        "slow.mp4": "too_slow",
        "small.mp4": "too_small",
        "half.mp4": "corrupt",
        "mute.mp4": "no_caption",
        "blank.mp4": "no_caption",
        "latin.mp4": "bad_caption",
        "film.webm": "not_mp4",
        "zz_twin.mp4": "duplicate",
    }
    assert why["cut.mp4"][1] == "1 cut(s), at 1.00 s"
    assert "3 frames over 0.25 s" in why["short.mp4"][1]
    assert "16x16 pixels; 32x32 are needed" in why["small.mp4"][1]
    assert sum(report["rejected"].values()) == 10  # type: ignore[attr-defined]


# WebDataset's own reader leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_hold_the_files_bytes_as_an_ordinary_reader_sees_them(videos: Path, tmp_path: Path) -> None:
    report = pack(videos, tmp_path, DEMAND, clips_per_shard=3)
    index = read_index(tmp_path)
    assert [shard.clips for shard in index.shards] == [3, 3, 1]
    origins = {(c["shard"], c["key"]): videos / c["file"] for c in report["clips"]}  # type: ignore[attr-defined]
    read = 0
    for shard in index.shards:
        for sample in webdataset.WebDataset(str(tmp_path / shard.file), shardshuffle=False):
            origin = origins[shard.file, sample["__key__"]]
            assert sample["mp4"] == origin.read_bytes()
            assert sample["txt"].decode() == origin.with_suffix(".txt").read_text("utf-8").strip()
            assert videos / json.loads(sample["json"])["origin"] == origin
            read += 1
    assert read == 7


def test_the_same_folder_and_seed_make_the_same_bytes(videos: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pack(videos, tmp_path / name, DEMAND, clips_per_shard=3, seed=seed)
    bodies = {name: [(tmp_path / name / f"00000{n}.tar").read_bytes() for n in range(3)] for name in "abc"}
    assert bodies["a"] == bodies["b"] != bodies["c"]
    assert read_index(tmp_path / "a").digest == read_index(tmp_path / "b").digest
    with pytest.raises(ValueError, match="clips_per_shard is 0; it must be at least 1"):
        pack(videos, tmp_path / "d", DEMAND, clips_per_shard=0)
    with pytest.raises(ValueError, match="holds shards already"):
        pack(videos, tmp_path / "a", DEMAND)


def test_a_stream_can_be_entered_anywhere_and_passes_see_every_clip(videos: Path, tmp_path: Path) -> None:
    pack(videos, tmp_path, DEMAND, clips_per_shard=2)  # shards of 2, 2, 2 and 1 clips
    index = read_index(tmp_path)

    def origins(process: int, processes: int, start: int, count: int) -> list[str]:
        stream = Stream(tmp_path, index, 5, process, processes)
        return [clip.origin for clip in islice(stream.clips(start), count)]

    alone = origins(0, 1, 0, 21)
    for each_pass in (alone[:7], alone[7:14], alone[14:]):
        assert len(set(each_pass)) == 7
    assert alone[:7] != alone[7:14]  # in another order
    for start in (1, 2, 6, 7, 13):
        assert origins(0, 1, start, 5) == alone[start : start + 5]
    first, second = origins(0, 2, 0, 14), origins(1, 2, 0, 14)
    shards = [{origin.split(":")[0] for origin in each[:3]} for each in (first, second)]
    assert not shards[0] & shards[1]  # two processes share no shard of a pass
    assert origins(1, 2, 9, 3) == second[9:12]
    assert len(origins(6, 9, 0, 4)) == 4  # more processes than shards


def test_shards_that_are_not_as_promised_are_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(BadShards, match="pack videos with python -m"):
        read_index(tmp_path)
    pack(videos, tmp_path, DEMAND, clips_per_shard=4)
    index = read_index(tmp_path)
    index.refuse(ClipRule(2, 4), 32, 32)
    for rule in (ClipRule(8, 8), ClipRule(4, 9), ClipRule(4, 4)):
        with pytest.raises(BadShards, match=r"packed for clips of 4 frames at 8 a second \(0.38 s\)"):
            index.refuse(rule, 32, 32)
    with pytest.raises(BadShards, match="at least 32x32; for 32x34 pack"):
        index.refuse(RULE, 32, 34)
    (tmp_path / "000001.tar").write_bytes((tmp_path / "000000.tar").read_bytes())
    with pytest.raises(BadShards, match=r"holds 4 clips, shards\.json says 3"):
        list(islice(Stream(tmp_path, index, 0, 0, 1).clips(0), 9))
    whole = (tmp_path / "000000.tar").read_bytes()
    (tmp_path / "000001.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadShards, match=r"000001\.tar does not read behind clip [123]"):
        list(islice(Stream(tmp_path, index, 0, 0, 1).clips(0), 9))
    (tmp_path / "000001.tar").unlink()
    with pytest.raises(BadShards, match=r"lists 000001\.tar, which is not there"):
        read_index(tmp_path)
    (tmp_path / INDEX).write_text('{"shards": []}')
    with pytest.raises(BadShards, match="is not an index of shards"):
        read_index(tmp_path)


def test_the_command_packs_with_several_processes_and_says_what_it_left_out(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "models.training.scale.pack", str(videos)]
    options = ["--frames", "4", "--fps", "8", "--size", "32x32", "--processes", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "s"), *options], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("7 of 17 packed; left out: {'bad_caption': 1, 'corrupt': 1")
    pack(videos, tmp_path / "here", DEMAND)
    assert read_index(tmp_path / "s").digest == read_index(tmp_path / "here").digest
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / "empty"), str(tmp_path / "t"), *options])
    assert end.value.code == 1
    assert "nothing to pack" in capsys.readouterr().err
