"""The report of an audit says what was found, what could not be asked, and never takes silence for health."""

from pathlib import Path

from rig.image_packages import GATEWAY, WORKER, copied
from rig.supply import IMAGES, LOCKS, audit, findings


def package(name, *weaknesses, **more):
    vulns = [{"id": each, "fix_versions": ["2.0"] if each.startswith("CVE") else []} for each in weaknesses]
    return {"name": name, "version": "1.0", "vulns": vulns, **more}


def test_a_bill_is_written_for_each_image_of_all_that_it_installs():
    named = {lock for locks in IMAGES.values() for lock in locks}
    assert named == {lock.stem for lock in LOCKS.glob("*.txt")}
    taken = {
        Path(each).stem for image in (GATEWAY, WORKER) for each in copied(image.dockerfile) if "locks" in each
    }
    assert named == taken


def test_weaknesses_are_named_with_the_version_that_mends_them():
    found = findings({"dependencies": [package("a", "CVE-1", "PYSEC-2"), package("b")]})
    assert found.known == ("a 1.0: CVE-1, mended in 2.0", "a 1.0: PYSEC-2, mended in no version yet")
    assert found.verdict == "audit: 2 known weaknesses in 2 of 2 packages"


def test_packages_that_could_not_be_asked_about_are_counted():
    silent = {"name": "c", "skip_reason": "not found"}
    some = findings({"dependencies": [package("a"), silent]})
    assert some.verdict == "audit: 0 known weaknesses in 1 of 2 packages; 1 could not be asked about"
    none = findings({"dependencies": [silent]})
    assert none.verdict == "audit: none of 1 packages could be asked about: no network? Nothing is known"


def test_a_tool_that_cannot_ask_turns_nothing_red(tmp_path, capsys):
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho 'ConnectionError: no route' >&2; exit 1\n")
    tool.chmod(0o755)
    audit(tmp_path)
    assert capsys.readouterr().out == (
        "audit: pip-audit could not ask (ConnectionError: no route). Nothing is known\n"
    )
