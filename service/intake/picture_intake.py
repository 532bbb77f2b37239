"""What a job begins with: the client's picture, fetched if need be and made a PNG, or an old film."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from service.access import Shelf
from service.contracts.artifact import Upload
from service.contracts.keys import input_picture_key, source_film_key, upload_key
from service.contracts.model_spec import ModelSpec
from service.contracts.request import Fit, PictureRef, SourceFilm, VideoRequest
from service.fields.references import Picture, PictureAt
from service.intake.admission import Origin
from service.logs import get_logger
from service.pictures.normalise import normalise_picture
from service.refusals import FieldFault, InvalidFields, Refusal

#: Pictures unpacked at a time: each may take several bytes for every pixel that its model allows.
DECODING_THREADS = 2
#: Films copied at a time: each is in memory as a whole.
FILMS_AT_A_TIME = 4

#: In every file with a C2PA manifest: the label of its store.
CREDENTIALS_MARK = b"c2pa"
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg"}

#: Gives the bytes that lie there; service/pictures/fetching.py is the real one.
Fetch = Callable[[PictureAt], Awaitable[bytes]]

log = get_logger(__name__)


@dataclass(frozen=True)
class PictureIntake:
    """Stores pictures and films before their job is submitted: a job must never name one that is not there.

    `film_limit_s`: no extension makes a film longer than that.
    """

    shelf: Shelf
    fetch: Fetch
    film_limit_s: float
    decoding: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(DECODING_THREADS))
    copying: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FILMS_AT_A_TIME))

    async def take(
        self, request: VideoRequest, fit: Fit, picture: Picture, spec: ModelSpec, tenant: str, job_id: str
    ) -> VideoRequest:
        """The request with its picture, which is stored. Raises InvalidFields, ServiceBusy (a fetch) or
        ContentUnavailable."""
        size = (request.width, request.height)
        raw = await self.file_of(picture)
        png = await self.as_png(raw, size, fit, spec.max_picture_pixels)
        stored = await self.shelf.put(input_picture_key(tenant, job_id), png, "image/png")
        own = PictureRef(
            key=stored.key,
            sha256=hashlib.sha256(png).hexdigest(),
            width=size[0],
            height=size[1],
            fit=fit,
            upload=await self.keep_upload(raw, tenant, job_id),
        )
        return request.model_copy(update={"input_picture": own})

    async def file_of(self, picture: Picture) -> bytes:
        """The client's file, which nobody has looked at yet. Raises InvalidFields or ServiceBusy."""
        return await self.fetch(picture) if isinstance(picture, PictureAt) else picture

    async def as_png(self, raw: bytes, size: tuple[int, int], fit: Fit, max_pixels: int) -> bytes:
        """What `normalise_picture` makes of a file. Raises InvalidFields."""

        def unpack() -> bytes:
            return normalise_picture(raw, size=size, fit=fit, max_pixels=max_pixels)

        return await anyio.to_thread.run_sync(unpack, limiter=self.decoding)

    async def keep_upload(self, raw: bytes, tenant: str, job_id: str) -> Upload | None:
        """A readable picture's file, stored as it came if it carries content credentials: the PNG made of it
        has lost them. Raises ContentUnavailable."""
        if CREDENTIALS_MARK not in raw:
            return None
        digest = hashlib.sha256(raw).hexdigest()
        kind = next((kind for start, kind in _KINDS.items() if raw.startswith(start)), "image/webp")
        stored = await self.shelf.put(upload_key(tenant, job_id, digest), raw, kind)
        return Upload(key=stored.key, sha256=digest, content_type=kind)

    async def take_origin(
        self, request: VideoRequest, origin: Origin, tenant: str, job_id: str
    ) -> VideoRequest:
        """The request with what it comes from; of a film to go on with a copy, as the old video may be
        deleted any moment. Raises InvalidFields, ContentGone or ContentUnavailable."""
        film = origin.film
        if film is None:
            return request.model_copy(update={"remixed_from": origin.video_id})
        extends = SourceFilm(
            video_id=origin.video_id,
            key=source_film_key(tenant, job_id),
            sha256=film.sha256,
            frames=film.frames or 1,
        )
        extended = request.model_copy(update={"extends": extends})
        if extended.film_frames > self.film_limit_s * request.fps:
            whole, limit = extended.film_frames / request.fps, self.film_limit_s
            bound = f"a length that makes a film of at most {limit:g} s"
            raise InvalidFields(
                [FieldFault("seconds", f"{whole:g}", bound, f"seconds must be {bound}, got {whole:g}")]
            )
        async with self.copying:
            body = b"".join([chunk async for chunk in await self.shelf.read(film.key)])
            await self.shelf.put(extends.key, body, film.content_type)
        return extended

    async def copy(self, request: VideoRequest, tenant: str, job_id: str) -> VideoRequest:
        """The request with copies under `job_id` of what it begins with, byte by byte: the old job may be
        deleted any moment. Raises ContentGone or ContentUnavailable."""
        changes: dict[str, PictureRef | SourceFilm] = {}
        if (own := request.input_picture) is not None:
            key = input_picture_key(tenant, job_id)
            await self._copy(own.key, key, "image/png")
            upload = own.upload
            if upload is not None:
                copy_key = upload_key(tenant, job_id, upload.sha256)
                await self._copy(upload.key, copy_key, upload.content_type)
                upload = upload.model_copy(update={"key": copy_key})
            changes["input_picture"] = own.model_copy(update={"key": key, "upload": upload})
        if (film := request.extends) is not None:
            changes["extends"] = film.model_copy(update={"key": source_film_key(tenant, job_id)})
            async with self.copying:
                await self._copy(film.key, source_film_key(tenant, job_id), "video/mp4")
        return request.model_copy(update=changes)

    async def _copy(self, key: str, new_key: str, content_type: str) -> None:
        body = b"".join([chunk async for chunk in await self.shelf.read(key)])
        await self.shelf.put(new_key, body, content_type)

    async def forget(self, request: VideoRequest) -> None:
        """No record names them; the janitor would find them too, an hour later."""
        own = request.input_picture
        for stored in (own, own and own.upload, request.extends):
            if stored is None:
                continue
            try:
                await self.shelf.delete(stored.key)
            except Refusal as error:
                log.warning("picture_left_behind", key=stored.key, detail=error.detail)
