"""The deadlines of a request against the time at which it arrived, and how long its video may stay."""

from collections.abc import Mapping

from service.contracts.deadline import LONGEST_S, SHORTEST_S
from service.fields.video import CreateVideo
from service.refusals import FieldFault

SHORTEST_RETENTION_S = 60.0
SHORTEST_APPROVAL_S, LONGEST_APPROVAL_S = 60.0, 7 * 86400.0
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


def approval_faults(asked: CreateVideo, given: Mapping[str, object]) -> list[FieldFault]:
    """What is wrong with approve_within: a delay between a minute and a week."""
    wanted = asked.approve_within
    if wanted is None or (wanted.relative and SHORTEST_APPROVAL_S <= wanted.seconds <= LONGEST_APPROVAL_S):
        return []
    bound = f"a delay of {SHORTEST_APPROVAL_S:g} to {LONGEST_APPROVAL_S:g} seconds, or such as 10m, 2h or 1d"
    return [FieldFault.of("approve_within", given["approve_within"], bound)]


def retention_faults(asked: CreateVideo, given: Mapping[str, object], longest_s: float) -> list[FieldFault]:
    """What is wrong with expires_after: a delay between a minute and what the operator allows (seconds)."""
    wanted, shortest_s = asked.expires_after, min(SHORTEST_RETENTION_S, longest_s)
    if wanted is None or (wanted.relative and shortest_s <= wanted.seconds <= longest_s):
        return []
    bound = f"a delay of {shortest_s:g} to {longest_s:g} seconds, or such as 10m, 2h or 1d"
    return [FieldFault.of("expires_after", given["expires_after"], bound)]
