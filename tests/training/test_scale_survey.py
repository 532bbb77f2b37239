"""Shards of other makers and all that can be wrong with them: looked through, then trained on in place."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rig.footage import mp4, pan
from rig.scale import prepare, write_config

from models.training.scale.clip_times import ClipRule
from models.training.scale.pack import REPORT, Demand
from models.training.scale.shards import INDEX, BadShards, Stream, read_index
from models.training.scale.survey import main, survey
from models.training.scale.train import train

DEMAND = Demand(ClipRule(frames=4, fps=8), 32, 32)


def good(seed: int) -> bytes:
    return mp4(pan(seed, 10))


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, body in members:
            told = tarfile.TarInfo(name)
            told.size = len(body)
            tar.addfile(told, io.BytesIO(body))


def words(**said: object) -> bytes:
    return json.dumps(said).encode()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three readable shards, one that was cut off, one that is no tar file, one with nothing of use."""
    broken = good(20)[:300]
    folder = tmp_path / "webvid"
    write_tar(
        folder / "00000.tar",
        [
            ("v/clip.0.mp4", good(1)),  # dots in names, and more members than anybody asked for
            ("v/clip.0.txt", b"the first\n"),
            ("v/clip.0.jpg", b"a thumbnail"),
            ("v/clip.0.json", words(videoid=1)),
            ("v/clip.1.mp4", good(2)),
            ("v/clip.1.json", words(caption="the second, in JSON", duration=9)),
            ("README", b"words"),
            ("v/broken.mp4", broken),
            ("v/broken.txt", b"does not decode"),
            ("v/latin.mp4", good(3)),
            ("v/latin.txt", "Stra\u00dfe".encode("latin-1")),
            ("v/mute.mp4", good(4)),
            ("v/lonely.txt", b"no video"),
            ("v/other.webm", b"x"),
            ("v/other.txt", b"another kind"),
        ],
    )
    write_tar(
        folder / "more" / "00001.tar",
        [
            ("apart.txt", b"stands apart from its video"),
            ("between.mp4", good(5)),
            ("between.json", words(text="under another name")),
            ("apart.MP4", good(6)),
            ("apart.txt", b"said again"),
            ("blank.mp4", good(7)),
            ("blank.txt", b" \n"),
            ("odd.mp4", good(8)),
            ("odd.json", b"{not json"),
            ("list.mp4", good(9)),
            ("list.json", b"[1]"),
            ("number.mp4", good(10)),
            ("number.json", words(caption=7)),
            ("short.mp4", mp4(pan(11, 3))),
            ("short.txt", b"too short"),
            ("cut.mp4", mp4(np.concatenate([pan(12, 8), pan(13, 8)]))),
            ("cut.txt", b"two scenes"),
            ("twin.mp4", good(1)),
            ("twin.txt", b"the first once more"),
        ],
    )
    write_tar(folder / "00002.tar", [(f"{n}.{s}", b) for n in (14, 15) for s, b in pair(n)])
    whole = (folder / "00002.tar").read_bytes()
    (folder / "00003.tar").write_bytes(whole[: whole.index(good(15)) + 100])
    (folder / "00004.tar").write_bytes(b"no tar file at all")
    write_tar(folder / "00005.tar", [("a.mp4", b""), ("a.txt", b"empty video")])
    (folder / "notes.txt").write_text("beside them")
    return folder


def pair(seed: int) -> list[tuple[str, bytes]]:
    return [("mp4", good(seed)), ("txt", f"number {seed}".encode())]


def test_what_is_left_out_is_counted_and_named_and_the_rest_is_used(shards: Path) -> None:
    report = survey(shards, DEMAND)
    assert json.loads((shards / REPORT).read_text()) == report
    told = {(each["shard"], each["name"]): each["reason"] for each in report["left_out"]}  # type: ignore[attr-defined]
    assert told == {
        ("00000.tar", "v/broken"): "corrupt",
        ("00000.tar", "v/latin"): "bad_caption",
        ("00000.tar", "v/mute"): "no_caption",
        ("00000.tar", "v/lonely"): "no_video",
        ("00000.tar", "v/other"): "not_mp4",
        ("00003.tar", "14"): "duplicate",
        ("00003.tar", "15"): "unreadable",
        ("00003.tar", "(its end)"): "unreadable",
        ("00004.tar", "(the file)"): "unreadable",
        ("00005.tar", "a"): "corrupt",
        ("more/00001.tar", "apart.txt (again)"): "repeated",
        ("more/00001.tar", "blank"): "no_caption",
        ("more/00001.tar", "odd"): "bad_caption",
        ("more/00001.tar", "list"): "bad_caption",
        ("more/00001.tar", "number"): "no_caption",
        ("more/00001.tar", "short"): "too_short",
        ("more/00001.tar", "cut"): "cut_inside",
        ("more/00001.tar", "twin"): "duplicate",
    }
    assert report["left_out_by_reason"] == dict(sorted(Counter(told.values()).items()))
    assert (report["shards"], report["accepted"], report["looked_at"]) == (6, 6, 24)
    assert all(each["why"] for each in report["left_out"])  # type: ignore[attr-defined]

    index = read_index(shards)
    assert [(shard.file, shard.clips) for shard in index.shards] == [
        ("00000.tar", 2),
        ("00002.tar", 2),
        ("more/00001.tar", 2),
    ]
    clips = list(islice(Stream(shards, index, 5, 0, 1).clips(0), 6))
    assert {(clip.caption, clip.mp4) for clip in clips} == {
        ("the first", good(1)),
        ("the second, in JSON", good(2)),
        ("under another name", good(5)),
        ("stands apart from its video", good(6)),
        ("number 14", good(14)),
        ("number 15", good(15)),
    }
    for start in (1, 2, 5):
        assert list(islice(Stream(shards, index, 5, 0, 1).clips(start), 6 - start)) == clips[start:]


def test_what_is_left_out_belongs_to_what_names_the_clips(shards: Path) -> None:
    survey(shards, DEMAND)
    index = read_index(shards)
    raw = json.loads((shards / INDEX).read_text())
    raw["shards"][0]["left_out"].pop()
    raw["shards"][0]["clips"] += 1
    (shards / INDEX).write_text(json.dumps(raw))
    assert read_index(shards).digest != index.digest
    (shards / INDEX).unlink()
    with pytest.raises(BadShards, match=r"looked through by python -m models\.training\.scale\.survey"):
        read_index(shards)


def test_the_command_says_what_it_left_out_and_refuses_what_is_of_no_use(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--frames", "4", "--fps", "8", "--size", "32x32"]
    main([str(shards), *options])
    said = capsys.readouterr().out
    assert said.startswith("6 of 24 in 6 shards are used; left out: {'bad_caption': 3, 'corrupt': 2")
    write_tar(tmp_path / "none" / "0.tar", [("a.txt", b"alone")])
    for folder, sentence in (
        (shards, f"has a {INDEX} already"),
        (tmp_path / "none", "nothing to train on in .*{'no_video': 1}"),
        (tmp_path / "nowhere", "no .tar in it"),
    ):
        with pytest.raises(SystemExit):
            main([str(folder), *options])
        captured = capsys.readouterr().err
        assert re.search(sentence, captured), captured
    assert not (tmp_path / "none" / INDEX).exists()


def test_a_training_on_them_goes_on_to_the_bit(shards: Path, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "scale", clips=1)
    survey(shards, DEMAND)
    config = write_config(folder, "foreign.toml", steps=6, checkpoint_every=3)
    config.write_text(config.read_text().replace(f'"{folder}/shards"', f'"{shards}"'))
    whole = train(config, tmp_path / "whole")
    asked = iter(range(1, 100))
    assert train(config, tmp_path / "halves", stop=lambda: next(asked) >= 3) is None
    halves = train(config, tmp_path / "halves")
    assert whole is not None
    assert halves is not None
    assert (whole / "manifest.json").read_bytes() == (halves / "manifest.json").read_bytes()
