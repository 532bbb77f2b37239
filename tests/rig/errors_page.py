"""docs/errors.md, made of the refusals in the code.

`PYTHONPATH=.:tests python -m rig.errors_page` writes it.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import service
from rig.processes import ROOT
from service.refusals import Refusal

PAGE = ROOT / "docs/errors.md"
HEAD = """# Error codes

Made of the code by `PYTHONPATH=.:tests python -m rig.errors_page`; a test holds the page to it. The `code` of
a problem, and of OpenAI's `error` object in it ([how they look](api.md#refusals)), is a stable word for
programs; the sentence in `detail` is for people. Where a time is named, it is in `Retry-After`, the
same request may be sent again, and with the same Idempotency-Key makes no second video. Elsewhere
`x-should-retry: false` tells libraries not to. Why an accepted job made no video is told by
[other codes](api.md#look).

| code | status | when | repeat after |
|---|---|---|---|
"""


def refusals() -> Iterator[type[Refusal]]:
    """Every kind that a module of the service defines, by status and code."""
    for module in pkgutil.walk_packages(service.__path__, "service."):
        import_module(module.name)
    found, looked_at = [], [Refusal]
    while looked_at:
        kinds = looked_at.pop().__subclasses__()
        looked_at += kinds
        found += [kind for kind in kinds if kind.__module__.startswith("service.")]
    return iter(sorted(set(found), key=lambda kind: (kind.status, kind.code)))


def repeat(kind: type[Refusal]) -> str:
    """When the same request may be sent again; "" where it may not."""
    if kind.retry_after_s is not None:
        return f"{kind.retry_after_s} s"
    return "as it says" if "retry_after_s" in inspect.signature(kind).parameters else ""


def page() -> str:
    """The whole document. ValueError: a kind without a sentence of its own."""
    rows = []
    for kind in refusals():
        if not kind.__doc__ or "code" not in vars(kind):
            raise ValueError(f"{kind.__name__} has no sentence or no code of its own")
        meaning = " ".join(kind.__doc__.split())
        rows.append(f"| `{kind.code}` | {kind.status} | {meaning} | {repeat(kind)} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
