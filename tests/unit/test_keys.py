"""Names of keys: one primary, no two alike, and no attempt in another's folder."""

from itertools import permutations

from service.contracts.keys import (
    REDIS_KEYS,
    TAG,
    artifact_prefix,
    attempt_prefix,
    input_picture_key,
)


def test_every_redis_key_carries_the_one_hash_tag():
    assert all(key.startswith(f"{TAG}:") for key in REDIS_KEYS.values())


def test_no_key_can_be_taken_for_another():
    # A prefix (it ends in a colon) must not begin another name, or an odd id would reach it.
    for one, other in permutations(REDIS_KEYS.values(), 2):
        assert one != other
        assert not (one.endswith(":") and other.startswith(one)), (one, other)


def test_each_attempt_has_a_folder_of_its_own_inside_the_jobs():
    first, tenth = (attempt_prefix("t", "video_a", attempt) for attempt in (1, 10))
    assert first == "t/video_a/1/"
    assert not tenth.startswith(first)
    assert first.startswith(artifact_prefix("t", "video_a"))
    assert input_picture_key("t", "video_a").startswith(artifact_prefix("t", "video_a"))
    assert not artifact_prefix("t", "video_ab").startswith(artifact_prefix("t", "video_a"))
