"""What clients get to see of the models: OpenAI's list, with the bounds that intake enforces."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.model_spec import ModelSpec


class ModelView(BaseModel):
    """A served model: OpenAI's model object with the bounds that intake enforces."""

    model_config = ConfigDict(title="Model")

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Always 0: models have no such date here; clients expect the field.")
    owned_by: str = "microcinema"
    live_workers: int
    spec: ModelSpec


class ModelListView(BaseModel):
    """Every model that is or was served; those with live workers first."""

    model_config = ConfigDict(title="ModelList")

    object: Literal["list"] = "list"
    data: list[ModelView]
