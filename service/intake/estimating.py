"""What a video would cost, said by the code that would accept it."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.access import reaching_record
from service.contracts.request import VideoRequest
from service.fields.aliases import in_our_words
from service.fields.deadlines import deadline_faults, retention_faults
from service.fields.references import Picture
from service.fields.video import read_fields
from service.intake.admission import checked_request, chosen_model
from service.intake.intake import Intake
from service.store.nouns import Forecast


@dataclass(frozen=True)
class Estimate:
    """A request with the model's defaults, and what it would cost now."""

    request: VideoRequest
    forecast: Forecast


async def estimate(intake: Intake, given: Mapping[str, object], picture: Picture | None) -> Estimate:
    """Accepts nothing. Raises InvalidFields, UnknownModel, NoModelYet or RecordUnavailable.

    The picture itself is not looked at, only that there is one.
    """
    asked, faults = read_fields(in_our_words(given, intake.aliases)[0])
    faults += deadline_faults(asked, given, intake.clock())
    faults += retention_faults(asked, given, intake.retention_s)
    spec = chosen_model(await intake.catalogue.now(), asked, faults, intake.aliases)
    request = checked_request(asked, spec, faults, seed=0, with_picture=picture is not None)
    async with reaching_record():
        return Estimate(request, await intake.jobs.estimate(spec.pool, request))
