"""Content credentials of a film that went through the whole service, read by the library's own reader."""

from pathlib import Path
from typing import Any

from rig.film_credentials import read

from service.client import Client


def test_a_downloaded_film_and_its_remix_are_trusted_and_a_tampered_one_is_not(
    start_service: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "credentials"
    service = start_service(MICROCINEMA_CREDENTIALS_DIR=str(folder))
    process = service.worker()
    assert "test_certificate" in process.output()
    bodies = []
    with Client(service.url) as client:
        made = client.wait(client.create("a red circle", seed=7).id, timeout_s=60).raise_for_failure()
        remix = client.wait(client.remix(made.id, "a blue square").id, timeout_s=60).raise_for_failure()
        for video in (made, remix):
            client.download(video.id, tmp_path / "a.mp4")
            bodies.append((tmp_path / "a.mp4").read_bytes())
    (state, first), (state_of_remix, second) = (read(body, folder / "ca.pem") for body in bodies)
    assert (state, state_of_remix) == ("Trusted", "Trusted")
    assert first["title"] == f"{made.id}.mp4"
    (old,) = second["ingredients"]
    assert (old["title"], old["active_manifest"]) == (f"{made.id}.mp4", first["label"])
    tampered = bytearray(bodies[0])
    tampered[-20] ^= 1
    assert read(bytes(tampered), folder / "ca.pem")[0] == "Invalid"
