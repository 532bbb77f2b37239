"""What each refusal tells libraries that repeat by themselves, as OpenAI's do after 408, 409, 429 or 5xx."""

from collections.abc import Iterator

import pytest
from starlette.responses import Response

import service.app  # noqa: F401 - every refusal that the gateway knows
from service.api.problems import problem_response
from service.contracts.quota import Quota, QuotaReached
from service.refusals import InvalidFields, QuotaExceeded, RateLimited, Refusal, UnknownModel


def below(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


#: But those that are made of more than a sentence; their answers are tested where they come about.
KINDS = sorted(set(below(Refusal)) - {InvalidFields, UnknownModel, QuotaExceeded, RateLimited}, key=str)


def answered(refusal: Refusal) -> Response:
    return problem_response(refusal, instance="/videos", request_id="req_1")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_only_what_gets_better_by_waiting_is_repeated(kind: type[Refusal]) -> None:
    headers = answered(kind("no")).headers
    passes = kind.status in (429, 503)
    assert headers["x-should-retry"] == str(passes).lower()
    assert ("retry-after" in headers, "retry-after-ms" in headers) == (passes, passes)


def test_there_are_conflicts_among_them() -> None:
    assert len([kind for kind in KINDS if kind.status == 409]) >= 7


@pytest.mark.parametrize("quota", Quota)
def test_no_used_quota_is_asked_for_again(quota: Quota) -> None:
    headers = answered(QuotaExceeded(QuotaReached(quota, 1.0, 1.0, 1.0, None))).headers
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
