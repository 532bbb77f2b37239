"""Bodies of POST /videos: JSON and multipart are read alike, and broken ones are refused with a reason."""

import io
import json
import time
from typing import Any

import httpx
import pytest
from PIL import Image

FORM = "multipart/form-data; boundary=B"


def part(name: str, body: str, more: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{body}\r\n'


def post_form(site: Any, *parts: str, end: str = "--B--\r\n") -> httpx.Response:
    body = ("".join(parts) + end).encode()
    answer: httpx.Response = site.client.post("/videos", content=body, headers={"content-type": FORM})
    return answer


def faults(site: Any, answer: httpx.Response) -> dict[str, dict[str, str]]:
    problem = site.problem(422, answer)
    return {fault["field"]: fault for fault in problem["errors"]}


def test_json_and_form_give_the_same_request(site: Any) -> None:
    as_json = {
        "prompt": "ein roter Kreis, größer 🔴",
        "size": "96x64",
        "seconds": 2,
        "fps": 8,
        "seed": 7,
        "guidance_scale": 3.5,
        "gamma": 0.01,
        "num_inference_steps": 10,
        "priority": -2,
        "metadata": {"a": "b", "c d": "e=f"},
        "webhook_url": "https://example.com/hook",
    }
    as_form = {name: str(value) for name, value in as_json.items() if name != "metadata"}
    bracketed = {**as_form, "metadata[a]": "b", "metadata[c d]": "e=f"}
    one_part = {**as_form, "metadata": json.dumps(as_json["metadata"])}
    headers = {"idempotency-key": "the same"}
    ids = set()
    answers = [site.client.post("/videos", json=as_json, headers=headers)]
    for form in (bracketed, one_part):
        files = {name: (None, value) for name, value in form.items()}
        answers.append(site.client.post("/videos", files=files, headers=headers))
    # One key, one digest, one job: the record itself says that they are the same request.
    assert [answer.status_code for answer in answers] == [202, 200, 200]
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 1
    request = site.jobs.get("default", ids.pop()).request
    assert (request.prompt, request.num_frames, request.gamma) == (as_json["prompt"], 16, 0.01)
    assert request.metadata == as_json["metadata"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b'{"prompt": "x"} trailing', "not valid JSON"),
        (b"[1]", "must be an object"),
        (b'"prompt"', "must be an object"),
        (b"null", "must be an object"),
        (b'{"a":' * 9_000, "nested too deeply"),
        (b'{"a":[' + b"[]," * 300_000 + b"0]}", "opens more than 10000 objects and lists"),
        (b'{"prompt":"x","a":{"b":' * 6_000, "opens more than 10000 objects and lists"),
        (b'{"prompt": "x", "seed": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b'{"prompt": "one", "prompt": "two"}', "more than once"),
    ],
)
def test_broken_json_is_400(site: Any, body: bytes, says: str) -> None:
    answer = site.client.post("/videos", content=body, headers={"content-type": "application/json"})
    assert says in site.problem(400, answer)["detail"]


def test_a_repeated_name_among_very_many_is_found_quickly(site: Any) -> None:
    names = ",".join(f'"{number}":1' for number in range(100_000))
    began = time.monotonic()
    answer = site.client.post(
        "/videos", content=f'{{{names},"99999":1}}', headers={"content-type": "application/json"}
    )
    assert time.monotonic() - began < 15
    assert "'99999' is given more than once" in site.problem(400, answer)["detail"]


def test_very_many_unknown_fields_do_not_make_a_long_answer(site: Any) -> None:
    answer = site.client.post(
        "/videos", json={"prompt": "x"} | {f"field{number}": 1 for number in range(10_000)}
    )
    assert faults(site, answer).keys() == {f"field{number}" for number in range(8)}
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("padding", [0, 70_000], ids=["short", "long"])
def test_values_nested_as_deeply_as_python_reads_them_are_refused(site: Any, padding: int) -> None:
    """Long JSON is read in a thread, on a shallower stack than the fault is then named on."""
    for depth in range(930, 1000, 3):
        body = b'{"prompt": ' + b"[" * depth + b"]" * depth + b', "user": "' + b"u" * padding + b'"}'
        answer = site.client.post("/videos", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), f"{depth} lists in each other"


def test_json_words_that_are_no_numbers(site: Any) -> None:
    body = b'{"prompt": "x", "gamma": NaN, "guidance_scale": -Infinity, "seconds": 1e999}'
    answer = site.client.post("/videos", content=body, headers={"content-type": "application/json"})
    assert faults(site, answer).keys() == {"gamma", "guidance_scale", "seconds"}


def test_lone_surrogates_are_named(site: Any) -> None:
    answer = site.client.post(
        "/videos", content=b'{"prompt": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert "surrogate" in faults(site, answer)["prompt"]["message"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", None, "json", ";"]
)
def test_other_content_types_are_415(site: Any, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    problem = site.problem(415, site.client.post("/videos", content=b"prompt=x", headers=headers))
    assert "multipart/form-data" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"parts": [], "end": "nothing like it"},
        {"parts": [part("prompt", "x")], "end": ""},  # cut before the end
        {"parts": [part("prompt", "x")], "end": part("seed", "1")[:-8]},
        {"parts": ["--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n"]},
        {"parts": [part(f"field{number}", "x") for number in range(200)]},
    ],
)
def test_broken_forms_are_400(site: Any, body: dict[str, Any]) -> None:
    site.problem(400, post_form(site, *body["parts"], end=body.get("end", "--B--\r\n")))


def test_a_form_without_its_boundary_is_400(site: Any) -> None:
    answer = site.client.post("/videos", content=b"x", headers={"content-type": "multipart/form-data"})
    site.problem(400, answer)


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "utf-16", "latin-1", "no-such"])
def test_a_form_is_utf8_whatever_charset_it_claims(site: Any, charset: str) -> None:
    answer = site.client.post(
        "/videos",
        content=(part("prompt", "xn--größer..b") + "--B--\r\n").encode(),
        headers={"content-type": f"{FORM}; charset={charset}"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["prompt"] == "xn--größer..b"


@pytest.mark.parametrize(
    "body", [part("prompt", "gr\u00fcn").encode("latin-1"), part("gr\u00fcn", "x").encode("latin-1")]
)
def test_a_form_that_is_not_utf8_is_400(site: Any, body: bytes) -> None:
    answer = site.client.post("/videos", content=body + b"--B--\r\n", headers={"content-type": FORM})
    assert "not UTF-8" in site.problem(400, answer)["detail"]


@pytest.mark.parametrize("boundary", ['"a b"', "'()+_,-./:=?"])
def test_a_boundary_may_hold_any_character_that_rfc_2046_allows(site: Any, boundary: str) -> None:
    plain = boundary.strip('"')
    body = part("prompt", "x").replace("--B", f"--{plain}") + f"--{plain}--\r\n"
    answer = site.client.post(
        "/videos", content=body, headers={"content-type": f"multipart/form-data; boundary={boundary}"}
    )
    assert answer.status_code == 202, answer.text


def test_a_part_given_twice_is_a_fault(site: Any) -> None:
    twice = post_form(site, part("prompt", "one"), part("prompt", "two"))
    assert "once" in site.problem(422, twice)["detail"]
    both = post_form(site, part("prompt", "x"), part("metadata", "{}"), part("metadata[a]", "b"))
    assert "once" in site.problem(422, both)["detail"]


def test_brackets_that_mean_nothing_here_are_unknown_fields(site: Any) -> None:
    answer = post_form(site, part("prompt", "x"), part("nested[a][]", "1"), part("metadata[a][b]", "2"))
    assert faults(site, answer).keys() == {"nested[a][]", "metadata[a][b]"}


def test_all_faults_come_in_one_answer(site: Any) -> None:
    answer = site.client.post("/videos", json={"fps": True, "size": "1x1", "seed": -1, "bogus": 1})
    found = faults(site, answer)
    assert found.keys() == {"prompt", "fps", "size", "seed", "bogus"}
    assert found["size"] == {
        "field": "size",
        "value": "'1x1'",
        "bound": "one of 64x64, 96x64",
        "message": "size must be one of 64x64, 96x64, got '1x1'",
    }
    assert site.client.get("/videos").json()["data"] == []


@pytest.mark.parametrize("as_form", [False, True])
def test_a_prompt_of_a_megabyte_is_a_clear_fault(site: Any, as_form: bool) -> None:
    prompt = "a" * 1_000_000
    body: dict[str, Any] = {"files": {"prompt": (None, prompt)}} if as_form else {"json": {"prompt": prompt}}
    began = time.monotonic()
    answer = site.client.post("/videos", **body)
    assert time.monotonic() - began < 15
    fault = faults(site, answer)["prompt"]
    assert "at most 200 characters, got 1000000" in fault["message"]
    assert len(answer.content) < 2000


def test_a_picture_becomes_the_jobs_own(site: Any, png: Any) -> None:
    answer = site.client.post(
        "/videos",
        data={"prompt": "it moves", "fit": "cover", "size": "96x64"},
        files={"input_reference": ("me.jpg", png(200, 200, kind="JPEG"), "image/jpeg")},
    )
    assert answer.status_code == 202, answer.text
    video = answer.json()
    assert video["fit"] == "cover"
    job = site.jobs.get("default", video["id"])
    assert "image_to_video@0" in job.compat
    reference = job.request.input_picture
    assert reference.key == f"default/{video['id']}/input/picture.png"
    stored = b"".join(site.artifacts.read(reference.key))
    assert Image.open(io.BytesIO(stored)).size == (96, 64)
    assert site.artifacts.head(reference.key).sha256 == reference.sha256


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (b"just some text", "PNG, JPEG or WebP"),
        (b"", "PNG, JPEG or WebP"),
    ],
)
def test_a_bad_picture_stores_nothing(site: Any, picture: bytes, says: str) -> None:
    answer = site.client.post("/videos", data={"prompt": "x"}, files={"input_reference": ("a.png", picture)})
    assert says in faults(site, answer)["input_reference"]["message"]
    assert list(site.artifacts.list("")) == []


def test_a_picture_of_another_size_names_both(site: Any, png: Any) -> None:
    answer = site.client.post(
        "/videos", data={"prompt": "x"}, files={"input_reference": ("a.png", png(80, 40))}
    )
    message = faults(site, answer)["input_reference"]["message"]
    assert "80x40" in message
    assert "64x64" in message


def test_a_picture_for_a_model_that_takes_none(site: Any, png: Any, make_spec: Any) -> None:
    site.worker.announce(make_spec(image_input=False))
    answer = site.client.post("/videos", data={"prompt": "x"}, files={"input_reference": ("a.png", png())})
    assert "micro takes none" in faults(site, answer)["input_reference"]["message"]


def test_a_reference_that_is_no_file_is_told_how(site: Any, png: Any) -> None:
    in_json = site.client.post("/videos", json={"prompt": "x", "input_reference": {"file_id": "file-1"}})
    as_text = post_form(site, part("prompt", "x"), part("input_reference", "picture.png"))
    for answer in (in_json, as_text):
        assert "file part" in faults(site, answer)["input_reference"]["message"]
    elsewhere = site.client.post("/videos", data={"prompt": "x"}, files={"picture": ("a.png", png())})
    assert "input_reference" in faults(site, elsewhere)["picture"]["message"]


def test_a_file_that_was_not_chosen_is_no_file(site: Any) -> None:
    answer = post_form(site, part("prompt", "x"), part("input_reference", "", '; filename=""'))
    assert answer.status_code == 202


def test_a_picture_that_lost_its_race_is_deleted(site: Any, png: Any) -> None:
    def post() -> httpx.Response:
        answer: httpx.Response = site.client.post(
            "/videos",
            data={"prompt": "x"},
            files={"input_reference": ("a.png", png())},
            headers={"idempotency-key": "k"},
        )
        return answer

    first, second = post(), post()
    assert (first.status_code, second.status_code) == (202, 200)
    assert [stored.key for stored in site.artifacts.list("")] == [
        f"default/{first.json()['id']}/input/picture.png"
    ]
