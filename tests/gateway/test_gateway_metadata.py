"""Listings by metadata: all pairs asked for, in order, page by page, and nothing left of what is gone."""

from typing import Any

import pytest


def listed(site: Any, **query: Any) -> list[str]:
    """All pages."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = site.client.get("/v1/videos", params=query | after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [video["id"] for video in page["data"]]
        if not page["has_more"]:
            return found
        after = {"after": page["last_id"]}


def test_only_videos_with_all_pairs_are_listed(site: Any) -> None:
    made = [
        site.create(metadata={"shop": "a", "even": str(n % 2 == 0), "third": str(n % 3 == 0)})["id"]
        for n in range(9)
    ]
    site.create(metadata={"shop": "b", "even": "True"})
    site.create()
    assert listed(site, **{"metadata[shop]": "a", "order": "asc", "limit": 2}) == made
    both = {"metadata[even]": "True", "metadata[third]": "True", "metadata[shop]": "a"}
    assert listed(site, **both, limit=1) == [made[6], made[0]]
    assert listed(site, **{"metadata[shop]": "c"}) == []
    assert len(listed(site)) == 11


def test_a_pair_is_its_name_and_its_value(site: Any) -> None:
    made = site.create(metadata={"a": "bc", "\u00e4": "\U0001f3ac"})["id"]
    assert listed(site, **{"metadata[ab]": "c"}) == []
    assert listed(site, **{"metadata[a]": "bc", "metadata[\u00e4]": "\U0001f3ac"}) == [made]


def test_nothing_is_left_of_a_deleted_video(site: Any) -> None:
    made = site.create(metadata={"a": "b"})["id"]
    site.client.delete(f"/videos/{made}")
    assert listed(site, **{"metadata[a]": "b"}) == []
    assert site.redis.keys("{mc}:labelled:*") == []


@pytest.mark.parametrize("query", ["metadata[]=x", "metadata[a]=1&metadata[a]=2", f"metadata[a]={'x' * 513}"])
def test_a_pair_that_no_video_can_have_is_named(site: Any, query: str) -> None:
    problem = site.problem(422, site.client.get(f"/videos?{query}"))
    assert problem["errors"][0]["field"] == "metadata"
