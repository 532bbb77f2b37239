"""What clients get to see of the models: OpenAI's list, with the bounds that intake enforces."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.model_spec import ModelSpec
from service.fields.aliases import Aliases
from service.refusals import NoSuchModel, shown
from service.store.nouns import CatalogueEntry


class MeasuredView(BaseModel):
    """What the last videos of a model took on this fleet, whatever was asked of each."""

    render_p50_seconds: float = Field(
        description="The middle of the seconds from a worker's claim until the file was stored."
    )
    videos: int = Field(description="So many were looked at: the last 100 at most.")


class ModelView(BaseModel):
    """A served model: OpenAI's model object with the bounds that intake enforces."""

    model_config = ConfigDict(title="Model")

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Always 0: models have no such date here; clients expect the field.")
    owned_by: str = "microcinema"
    live_workers: int
    aliases: list[str] = Field(description="Foreign names that stand for this model here.")
    measured: MeasuredView | None = Field(None, description="Null before a video of it was rendered.")
    spec: ModelSpec


class ModelListView(BaseModel):
    """Every model that is or was served; those with live workers first."""

    model_config = ConfigDict(title="ModelList")

    object: Literal["list"] = "list"
    data: list[ModelView]


def model_list(entries: Sequence[CatalogueEntry], aliases: Aliases) -> ModelListView:
    """The catalogue as clients see it, in this order."""
    return ModelListView(data=[model_view(entry, aliases) for entry in entries])


def named_model(name: str, entries: Sequence[CatalogueEntry], aliases: Aliases) -> ModelView:
    """The model of this name, or the one that it stands for. Raises NoSuchModel."""
    wanted = aliases[name].model if name in aliases else name
    for entry in entries:
        if entry.spec.name == wanted:
            return model_view(entry, aliases)
    known = ", ".join([*(entry.spec.name for entry in entries), *aliases])
    raise NoSuchModel(f"no model {shown(name)}; there are {known or 'none yet'}", param="name")


def model_view(entry: CatalogueEntry, aliases: Aliases) -> ModelView:
    """One of the catalogue as clients see it."""
    names = [name for name, alias in aliases.items() if alias.model == entry.spec.name]
    measured = None
    if entry.render_p50_s is not None:
        measured = MeasuredView(render_p50_seconds=round(entry.render_p50_s, 3), videos=entry.renders)
    return ModelView(
        id=entry.spec.name, live_workers=entry.live_workers, aliases=names, measured=measured, spec=entry.spec
    )
