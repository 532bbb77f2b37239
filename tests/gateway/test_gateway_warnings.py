"""What the model has never read is told with the job, once and for all."""

import threading
from typing import Any

import pytest
from rig.processes import wait_until

from service.cli.main import main
from service.contracts.model_spec import Vocabulary

WORDS = Vocabulary(telling=("red", "circle", "left"), filler=("a", "moving"))
SHOWN = 'micro never read "dragon": what that does to the video is chance. It knows red, circle, left.'


def test_unknown_words_are_a_warning_that_stays_with_the_job(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(vocabulary=WORDS))
    asked = {"prompt": "A red dragon moving LEFT"}
    key = {"idempotency-key": "one"}
    created = site.client.post("/videos", json=asked, headers=key)
    assert created.status_code == 202
    assert created.json()["warnings"] == [SHOWN]

    site.worker.announce(make_spec(vocabulary=None, weight_hash="f" * 16))  # another generation of weights
    again = site.client.post("/videos", json=asked, headers=key)
    assert (again.status_code, again.json()["warnings"]) == (200, [SHOWN])
    video_id = site.worker.render()
    assert site.client.get(f"/videos/{video_id}").json()["warnings"] == [SHOWN]
    assert site.client.get("/videos").json()["data"][0]["warnings"] == [SHOWN]
    # The new weights come without a list; a gateway reads what is served once a second.
    wait_until(lambda: site.create(prompt="a red dragon")["warnings"] == [], 10, "the list of before to go")


def test_it_stands_beside_what_changes_while_a_job_waits(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(vocabulary=WORDS))
    site.jobs.retire("gpu-1")
    nothing, nobody = site.create(prompt="a dragon")["warnings"]
    assert nothing.startswith("micro knows no word of this prompt that says what to show")
    assert nobody == "no worker serves micro at the moment; the job waits for one"


def test_known_words_and_the_list_itself(site: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(vocabulary=WORDS))
    assert site.create(prompt="Red circle, moving left.")["warnings"] == []
    (model,) = site.client.get("/models").json()["data"]
    assert model["spec"]["vocabulary"] == {"telling": ["red", "circle", "left"], "filler": ["a", "moving"]}


def test_the_command_line_says_it(
    site: Any, make_spec: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.worker.announce(make_spec(vocabulary=WORDS))

    def work() -> None:
        wait_until(lambda: site.jobs.queue_depth("default") == 1, 60, "the command has asked")
        site.worker.render()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        status = main(["generate", "a red dragon", "--url", site.url, "--out", str(tmp_path / "video.mp4")])
    finally:
        worker.join()
    assert status == 0
    assert f"warning: {SHOWN}\n" in capsys.readouterr().err
