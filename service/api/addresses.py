"""The addresses in a job's view: its own, and fresh signed links."""

from dataclasses import dataclass

from pydantic import BaseModel, Field


class UrlsView(BaseModel):
    """Addresses, so that no client has to build one. The links need no header and expire."""

    self_: str = Field(alias="self")
    content: str
    image: str
    thumbnail: str
    spritesheet: str
    events: str
    cancel: str
    video_link: str | None = Field(None, description="Signed, for anyone, until `link_expires_at`.")
    thumbnail_link: str | None = Field(None, description="Signed, for anyone, until `link_expires_at`.")
    spritesheet_link: str | None = Field(None, description="Signed, for anyone, until `link_expires_at`.")
    image_link: str | None = Field(None, description="Signed, for anyone, until `link_expires_at`.")
    events_link: str | None = Field(None, description="Signed, for EventSource, until `link_expires_at`.")
    link_expires_at: int | None = None


@dataclass(frozen=True)
class Links:
    """Fresh signed links of one job's files and events."""

    video: str | None = None
    thumbnail: str | None = None
    spritesheet: str | None = None
    image: str | None = None
    events: str | None = None
    candidates: tuple[str, ...] = ()
    expires_at: int | None = None


def addresses(place: str, links: Links) -> dict[str, str | int | None]:
    """The fields of UrlsView. `place` is the job's own address."""
    return {
        "self": place,
        "content": f"{place}/content",
        "image": f"{place}/content?variant=image",
        "thumbnail": f"{place}/content?variant=thumbnail",
        "spritesheet": f"{place}/content?variant=spritesheet",
        "events": f"{place}/events",
        "cancel": f"{place}/cancel",
        "video_link": links.video,
        "thumbnail_link": links.thumbnail,
        "spritesheet_link": links.spritesheet,
        "image_link": links.image,
        "events_link": links.events,
        "link_expires_at": links.expires_at,
    }
