"""Why nothing can be made of a video that is there."""

from service.refusals import Refusal


class SourceNotReady(Refusal):
    """A video that has not succeeded can be neither made over nor extended."""

    status, code, title = 409, "source_not_ready", "Nothing can be made of this video"


class CannotReproduce(Refusal):
    """What decided about this video's frames is not known, or not served any more."""

    status, code, title = 409, "cannot_reproduce", "This video cannot be made again"


class CannotExtend(Refusal):
    """The model cannot begin where a video ends."""

    status, code, title = 422, "cannot_extend", "This model cannot go on with a video"


class CannotEdit(Refusal):
    """OpenAI's videos API has calls for what no model here does."""

    status, code, title = 422, "cannot_edit", "No model here does this"
