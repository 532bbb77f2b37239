"""`python -m rig.crew JSON`: a real supervisor of pieces of Python in the places of workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.logs import configure_logs
from service.supervision.child_process import Child
from service.supervision.supervisor import RestartPolicy
from worker.host.crew import Crew, keep_alive
from worker.host.settings import HostSettings


def as_argument(codes: Mapping[str, str], policy: RestartPolicy, options: Mapping[str, Any]) -> str:
    """What `main` reads: the code of each child by name, the policy, and more fields of each Child."""
    return json.dumps({"codes": dict(codes), "policy": asdict(policy), "options": dict(options)})


def main(argument: str) -> int:
    asked = json.loads(argument)
    children = tuple(
        Child(name, (sys.executable, "-S", "-c", code), {}, lambda: True, **asked["options"])
        for name, code in asked["codes"].items()
    )
    configure_logs(process="supervisor")
    probes = dict.fromkeys(asked["codes"], "http://127.0.0.1:9")
    policy = RestartPolicy(**asked["policy"])
    return keep_alive(Crew(children, probes), HostSettings(), out=sys.stderr, policy=policy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
