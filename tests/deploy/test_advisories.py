"""A copy of an advisory database is read by its own rules, and a weakness is not overlooked."""

import pytest
import yaml
from packaging.version import Version
from rig.advisories import main, pinned, reached, weaknesses

OPEN = [{"introduced": "0"}]
MENDED = [{"introduced": "1.0"}, {"fixed": "1.4"}, {"introduced": "2.0"}, {"fixed": "2.2"}]
LAST = [{"introduced": "0"}, {"last_affected": "1.4"}]


@pytest.mark.parametrize(
    ("events", "has"),
    [
        (OPEN, {"0.1": True, "9.0": True}),
        (MENDED, {"0.9": False, "1.0": True, "1.4": False, "2.1.1": True, "2.2": False}),
        (LAST, {"1.4": True, "1.4.1": False}),
    ],
)
def test_a_range_is_read_as_osv_means_it(events, has):
    entry = {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    assert {version: reached(entry, Version(version)) for version in has} == has


def test_a_version_that_is_named_has_it_whatever_the_ranges_say():
    entry = {
        "versions": ["1.2", "2-not-a-version"],
        "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}],
    }
    assert reached(entry, Version("1.2.0"))
    assert not reached(entry, Version("1.3"))


def advisory(folder, name, number, **more):
    told = {
        "id": f"PYSEC-{number}",
        "affected": [{"package": {"name": name}, "ranges": [{"type": "ECOSYSTEM", "events": OPEN}]}],
    }
    place = folder / "vulns" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / f"PYSEC-{number}.yaml").write_text(yaml.safe_dump({**told, **more}))


def test_what_is_withdrawn_or_of_others_is_passed_over(tmp_path):
    advisory(tmp_path, "pillow", 1)
    advisory(tmp_path, "pillow", 2, withdrawn="2024-01-01T00:00:00Z")
    advisory(tmp_path, "another", 3)
    found = list(weaknesses(tmp_path, {"pillow": {Version("12.0")}}))
    assert found == [("pillow", "pillow 12.0: PYSEC-1"), ("pillow", "")]


def test_the_report_is_of_what_the_images_install(tmp_path, capsys):
    assert pinned()["torch"] == {Version("2.13.0")}, "with and without CUDA"
    advisory(tmp_path, "torch", 9)
    main(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "torch 2.13.0: PYSEC-9"
    assert said[1].startswith("audit: 1 known weaknesses in ")
    with pytest.raises(SystemExit, match="no copy of the advisory database"):
        main(tmp_path / "elsewhere")
