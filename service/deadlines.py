"""The deadlines of a request against the time at which it arrived."""

from collections.abc import Mapping

from service.contracts.deadline import LONGEST_S, SHORTEST_S
from service.fields import CreateVideo
from service.refusals import FieldFault

AHEAD = f"{SHORTEST_S:g} second to {LONGEST_S / 86400:g} days ahead"


def deadline_faults(asked: CreateVideo, given: Mapping[str, object], now: float) -> list[FieldFault]:
    """What is wrong with start_by and finish_by at `now` (seconds since 1970).

    `given` are the fields as written. Only what nobody can have meant is refused: whether there is time
    enough for the video is not judged, neither here nor later. The clock alone ends a job.
    """
    faults, moments = [], {}
    for name, deadline in (("start_by", asked.start_by), ("finish_by", asked.finish_by)):
        if deadline is None:
            continue
        moments[name] = deadline.at(now)
        if not SHORTEST_S <= moments[name] - now <= LONGEST_S:
            faults.append(FieldFault.of(name, given[name], AHEAD))
    if not faults and moments.get("start_by", 0.0) > moments.get("finish_by", float("inf")):
        faults.append(FieldFault.of("start_by", given["start_by"], "no later than finish_by"))
    return faults
