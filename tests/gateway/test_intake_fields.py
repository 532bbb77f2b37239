"""Reading the fields of a request: what is accepted, and that every fault names field, value and bound."""

from typing import Any

import pytest

from service.fields.video import read_fields
from service.refusals import shown


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"fps": 8}, {"fps": 8}),
        ({"fps": "8"}, {"fps": 8}),
        ({"fps": 8.0}, {"fps": 8}),
        ({"seed": " 7 "}, {"seed": 7}),
        ({"seconds": "2"}, {"seconds": 2.0}),
        ({"seconds": 1}, {"seconds": 1.0}),
        ({"guidance_scale": "7.5"}, {"guidance_scale": 7.5}),
        ({"gamma": ".02"}, {"gamma": 0.02}),
        ({"gamma": "2e-2"}, {"gamma": 0.02}),
        ({"seed": -0.0}, {"seed": 0}),
        ({"webhook_url": "https://my_host.example.com./"}, {"webhook_url": "https://my_host.example.com./"}),
        ({"webhook_url": "http://[2001:db8::1]:8080/"}, {"webhook_url": "http://[2001:db8::1]:8080/"}),
        ({"webhook_url": "http://xn--fa-hia.de/"}, {"webhook_url": "http://xn--fa-hia.de/"}),
        ({"size": "96x64"}, {"size": (96, 64)}),
        ({"prompt": "two\nlines\tand a tab"}, {"prompt": "two\nlines\tand a tab"}),
        ({"prompt": "红色的圆 🔴"}, {"prompt": "红色的圆 🔴"}),
        ({"negative_prompt": ""}, {"negative_prompt": ""}),
        ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        ({"metadata": '{"a": "b"}'}, {"metadata": {"a": "b"}}),
        (
            {"webhook_url": "https://example.com:8443/a?b=c"},
            {"webhook_url": "https://example.com:8443/a?b=c"},
        ),
        ({"fit": "cover"}, {"fit": "cover"}),
        ({"n": "1", "user": "abc"}, {"n": 1, "user": "abc"}),
        ({"seed": None, "model": None}, {}),
    ],
)
def test_good_values(given: dict[str, Any], read: dict[str, Any]) -> None:
    fields, faults = read_fields(given)
    assert faults == []
    assert fields.model_dump(exclude_none=True) == read


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", " \n\t "),
        ("prompt", "\u200b\u2060"),
        ("prompt", "bell\x07"),
        ("prompt", "nul\x00"),
        ("prompt", "escape\x1b[31m"),
        ("prompt", "c1\x85"),
        ("prompt", "half \ud83d"),
        ("prompt", 7),
        ("prompt", ["a"]),
        ("negative_prompt", "\x00"),
        ("fps", True),
        ("fps", "true"),
        ("fps", 8.5),
        ("fps", "8.0.0"),
        ("fps", "0x8"),
        ("fps", "1_0"),
        ("fps", ""),
        ("fps", [8]),
        ("fps", float("nan")),
        ("seed", 10**400),
        ("seed", "9" * 5000),
        ("seed", 1e300),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", "nan"),
        ("seconds", "inf"),
        ("seconds", "1e999"),
        ("seconds", 10**400),
        ("seconds", False),
        ("gamma", "abc"),
        ("size", "64"),
        ("size", "64x"),
        ("size", "0x64"),
        ("size", "-64x64"),
        ("size", "64x64x64"),
        ("size", "999999x64"),
        ("size", 64),
        ("fit", "stretch"),
        ("model", "m" * 300),
        ("sampler", ""),
        ("webhook_url", "ftp://example.com/"),
        ("webhook_url", "http://"),
        ("webhook_url", "http:///path"),
        ("webhook_url", "//example.com"),
        ("webhook_url", "http://exa mple.com"),
        ("webhook_url", "http://[::1"),
        ("webhook_url", "http://example.com:99999/"),
        ("webhook_url", "http://example.com:0/"),
        ("webhook_url", "http://example.com/\r\nX: y"),
        ("webhook_url", "http://xn--a/"),
        ("webhook_url", "http://a..b/"),
        ("webhook_url", "http://.example.com/"),
        ("webhook_url", "http://-example.com/"),
        ("webhook_url", "http://%41.com/"),
        ("webhook_url", "http://*.example.com/"),
        ("webhook_url", "http://" + "a" * 64 + ".com/"),
        ("webhook_url", "http://" + ".".join(["a" * 60] * 5) + "/"),
        ("webhook_url", "http://256.1.1.1/"),
        ("webhook_url", "http://[1.2.3.4]/"),
        ("webhook_url", "http://[fe80::1%25eth0]/"),
        ("webhook_url", "http://example.com:+80/"),
        ("webhook_url", "http://user@/"),
        ("webhook_url", "http://example.com/" + "a" * 2048),
        ("webhook_url", {"url": "http://example.com"}),
        ("metadata", "not json"),
        ("metadata", "[" * 100_000),
        ("metadata", '{"order": "1", "order": "2"}'),
        ("metadata", ["a"]),
        ("metadata", {"a": 1}),
        ("metadata", {"": "b"}),
        ("metadata", {"k" * 65: "b"}),
        ("metadata", {"a": "v" * 513}),
        ("metadata", {"a": "\x00"}),
        ("metadata", {"a\x00": "b"}),
        ("metadata", {str(n): "v" for n in range(17)}),
        ("n", 2),
    ],
)
def test_bad_values_are_named(field: str, value: Any) -> None:
    fields, (fault,) = read_fields({field: value})
    assert fields.model_dump(exclude_none=True) == {}
    assert fault.field == field
    assert fault.value == shown(value)
    assert fault.bound in fault.message
    assert field in fault.message
    assert fault.message.isascii()  # whatever the client sent, an answer can carry it
    assert len(fault.message) < 400


@pytest.mark.parametrize("field", ["gamma", "seconds", "guidance_scale"])
@pytest.mark.parametrize("zero", [-0.0, "-0", "-0.0", "-1e-999"])
def test_there_is_one_zero(field: str, zero: object) -> None:
    fields, faults = read_fields({field: zero})
    assert faults == []
    assert str(getattr(fields, field)) == "0.0"


def test_every_fault_is_found_and_the_rest_is_read() -> None:
    fields, faults = read_fields({"prompt": "ok", "fps": True, "seed": "x", "bogus": 1, "other": None})
    assert {fault.field for fault in faults} == {"fps", "seed", "bogus", "other"}
    assert fields.model_dump(exclude_none=True) == {"prompt": "ok"}


def test_an_unknown_field_is_told_the_known_ones() -> None:
    _, (fault,) = read_fields({"promt": "typo"})
    assert "promt" in fault.message
    assert "prompt, model, size" in fault.bound
    assert "input_reference" in fault.bound


def test_an_unknown_field_may_have_any_name() -> None:
    _, (fault,) = read_fields({"\ud800\x00": 1})
    assert fault.message.isascii()


def test_a_long_value_is_cut_and_its_length_told() -> None:
    assert shown("a" * 1_000_000).endswith("... (1000000 characters)")
    assert len(shown("a" * 1_000_000)) < 120
