"""The optimisers by name. bitsandbytes is optional, and enters here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from models.training.scale.plan import ScalePlan


def make_optimizer(
    parameters: Iterable[nn.Parameter], plan: ScalePlan, load: Callable[[str], Any] = import_module
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or the same with its moments in blocks of 8 bits (Dettmers 2022).

    `load` imports a module by name. Raises ValueError where bitsandbytes is not installed.
    """
    settings: dict[str, Any] = {"lr": plan.learning_rate, "weight_decay": plan.weight_decay}
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(list(parameters), **settings)
    try:
        bitsandbytes = load("bitsandbytes")
    except ImportError as error:
        raise ValueError(
            f'optimizer is "{plan.optimizer}", which needs bitsandbytes ({error}): install '
            'microcinema[train-8bit], or take "adamw"'
        ) from error
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(list(parameters), **settings)
    return optimizer
