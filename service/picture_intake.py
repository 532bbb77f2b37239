"""A client's picture on its way to a job: fetched if need be, checked, made a PNG, and stored."""

import hashlib
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from service.access import Shelf
from service.contracts.keys import input_picture_key
from service.contracts.model_spec import ModelSpec
from service.contracts.request import Fit, PictureRef, VideoRequest
from service.logs import get_logger
from service.pictures import normalise_picture
from service.references import Picture, PictureAt
from service.refusals import Refusal

#: Pictures unpacked at a time: each may take several bytes for every pixel that its model allows.
DECODING_THREADS = 2

#: Gives the bytes that lie there; service/fetching.py is the real one.
Fetch = Callable[[PictureAt], Awaitable[bytes]]

log = get_logger(__name__)


class PictureIntake:
    """Stores pictures before their job is submitted: a job must never name one that is not there."""

    def __init__(self, shelf: Shelf, fetch: Fetch) -> None:
        self._shelf, self._fetch = shelf, fetch
        self._decoding = anyio.CapacityLimiter(DECODING_THREADS)

    async def take(
        self, request: VideoRequest, fit: Fit, picture: Picture, spec: ModelSpec, tenant: str, job_id: str
    ) -> VideoRequest:
        """The request with its picture, which is stored. Raises InvalidFields, ServiceBusy (a fetch) or
        ContentUnavailable."""
        size = (request.width, request.height)
        png = await self.as_png(picture, size, fit, spec.max_picture_pixels)
        stored = await self._shelf.put(input_picture_key(tenant, job_id), png, "image/png")
        digest = hashlib.sha256(png).hexdigest()
        own = PictureRef(key=stored.key, sha256=digest, width=size[0], height=size[1], fit=fit)
        return request.model_copy(update={"input_picture": own})

    async def as_png(self, picture: Picture, size: tuple[int, int], fit: Fit, max_pixels: int) -> bytes:
        """What `normalise_picture` makes of it. Raises InvalidFields or ServiceBusy."""
        raw = await self._fetch(picture) if isinstance(picture, PictureAt) else picture

        def unpack() -> bytes:
            return normalise_picture(raw, size=size, fit=fit, max_pixels=max_pixels)

        return await anyio.to_thread.run_sync(unpack, limiter=self._decoding)

    async def forget(self, request: VideoRequest) -> None:
        """No record names it; the janitor would find it too, an hour later."""
        if request.input_picture is None:
            return
        try:
            await self._shelf.delete(request.input_picture.key)
        except Refusal as error:
            log.warning("picture_left_behind", key=request.input_picture.key, detail=error.detail)
