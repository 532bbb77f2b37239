"""The demo's proof: a file of the promised frames passes, anything else does not."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from worker.film.contact_sheet import GAP, main


@pytest.fixture
def video(tmp_path) -> Path:
    """Ten 64x48 frames, each of one grey that grows with its index."""
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            grey = np.full((48, 64, 3), 20 * index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_sheet_shows_every_frame_in_reading_order(video, tmp_path):
    sheet_path = tmp_path / "sheet.png"
    assert main([str(video), str(sheet_path), "--frames", "10"]) == 0
    with Image.open(sheet_path) as sheet:
        assert sheet.size == (GAP + 8 * (128 + GAP), GAP + 2 * (96 + GAP))
        centres = [(68 + 132 * (index % 8), 52 + 100 * (index // 8)) for index in range(10)]
        greys = [sheet.getpixel(centre)[0] for centre in centres]
    assert np.allclose(greys, [20 * index for index in range(10)], atol=4)


@pytest.mark.parametrize("promised", [9, 11, 0])
def test_another_number_of_frames_is_refused(video, tmp_path, capsys, promised):
    sheet = tmp_path / "sheet.png"
    assert main([str(video), str(sheet), "--frames", str(promised)]) == 1
    assert f"has 10 frames, {promised} were promised" in capsys.readouterr().err
    assert not sheet.exists()


@pytest.mark.parametrize("keep", [0, 200])
def test_a_cut_off_file_is_refused(video, tmp_path, capsys, keep):
    video.write_bytes(video.read_bytes()[:keep])
    assert main([str(video), str(tmp_path / "sheet.png"), "--frames", "10"]) == 1
    assert "does not decode" in capsys.readouterr().err
