"""Foreign names, sizes and lengths: taken where the operator says so, named in the job, refused elsewhere."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import GatewaySettings

SORA = {"model": "sora-2", "size": "1280x720", "seconds": "4"}
MAPPED = '{"sora-2": {"model": "micro", "size": {"1280x720": "96x64"}, "seconds": {"4": "2"}}}'


@pytest.fixture
def mapping(empty_record: None, start_gateway: Any, monkeypatch: Any) -> Any:
    monkeypatch.setenv("MICROCINEMA_ALIASES", MAPPED)
    site = start_gateway()
    site.worker.announce()
    return site


def test_old_code_gets_our_video_and_is_told(mapping: Any) -> None:
    video = mapping.create(**SORA)
    assert (video["model"], video["size"], video["seconds"]) == ("micro", "96x64", "2")
    assert video["asked_as"] == SORA
    again = mapping.client.get(f"/videos/{video['id']}").json()
    assert again["asked_as"] == SORA
    (model,) = mapping.client.get("/models").json()["data"]
    assert (model["id"], model["aliases"]) == ("micro", ["sora-2"])
    assert (
        mapping.client.get("/v1/models/sora-2").json() == mapping.client.get("/models/micro").json() == model
    )
    as_form = {name: (None, value) for name, value in {"prompt": "x", **SORA}.items()}
    assert mapping.client.post("/videos", files=as_form).json()["asked_as"] == SORA
    estimate = mapping.client.post("/videos/estimate", json={"prompt": "x", **SORA}).json()
    assert (estimate["model"], estimate["num_frames"]) == ("micro", 16)


@pytest.mark.parametrize("seconds", [4, 4.0, "4", " 4 "])
def test_a_number_is_meant_however_it_is_written(mapping: Any, seconds: Any) -> None:
    assert mapping.create(model="sora-2", seconds=seconds)["seconds"] == "2"


def test_what_is_not_listed_goes_on_as_it_is(mapping: Any) -> None:
    video = mapping.create(model="sora-2", size="64x64", seconds="1")
    assert (video["size"], video["seconds"], video["asked_as"]) == ("64x64", "1", {"model": "sora-2"})
    answer = mapping.client.post("/videos", json={"prompt": "x", "model": "sora-2", "size": "720x1280"})
    (fault,) = mapping.problem(422, answer)["errors"]
    assert (fault["field"], fault["bound"]) == ("size", "one of 64x64, 96x64")


def test_without_a_foreign_model_nothing_is_replaced(mapping: Any) -> None:
    answer = mapping.client.post("/videos", json={"prompt": "x", "size": "1280x720"})
    assert mapping.problem(422, answer)["errors"][0]["field"] == "size"
    assert mapping.create(model="micro")["asked_as"] == {}


def test_a_repeat_with_its_key_is_the_same_whatever_the_aliases_are_now(
    mapping: Any, start_gateway: Any, monkeypatch: Any
) -> None:
    headers = {"idempotency-key": "k"}
    first = mapping.client.post("/videos", json={"prompt": "x", **SORA}, headers=headers)
    monkeypatch.setenv("MICROCINEMA_ALIASES", "")
    later = start_gateway().client.post("/videos", json={"prompt": "x", **SORA}, headers=headers)
    assert (first.status_code, later.status_code) == (202, 200)
    assert later.json()["id"] == first.json()["id"]


def test_an_unknown_model_is_told_the_aliases_too(mapping: Any) -> None:
    problem = mapping.problem(422, mapping.client.post("/videos", json={"prompt": "x", "model": "veo"}))
    assert problem["errors"][0]["bound"] == "one of micro, sora-2"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"sora-2": "micro"}',
        '{"sora-2": {}}',
        '{"sora-2": {"model": "a b"}}',
        '{"sora-2": {"model": "micro", "size": {"big": "64x64"}}}',
        '{"sora-2": {"model": "micro", "seconds": {"4": 2}}}',
        '{"sora-2": {"model": "micro", "fps": {"4": "2"}}}',
    ],
)
def test_a_mapping_that_cannot_be_meant_keeps_the_gateway_from_starting(monkeypatch: Any, text: str) -> None:
    monkeypatch.setenv("MICROCINEMA_ALIASES", text)
    with pytest.raises(ValidationError):
        GatewaySettings()
