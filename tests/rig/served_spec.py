"""What a worker of a small model announces."""

from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec


def micro_spec(name: str = "micro", **fields) -> ModelSpec:
    whole = {
        "name": name,
        "weight_hash": "0123456789abcdef",
        "sizes": ((64, 64),),
        "frames": FrameBounds(min=4, max=16, default=16, multiple_of=4),
        "fps": Bounds[int](min=1, max=30, default=8),
        "steps": Bounds[int](min=4, max=50, default=25),
        "guidance_scale": Bounds[float](min=1, max=15, default=5),
        "gamma": Bounds[float](min=0, max=0.05, default=0.02),
        "prompt_max_chars": 500,
        "max_picture_pixels": 10_000,
        "image_input": True,
        "samplers": ("ddim",),
        "description": "small",
        "license": "Apache-2.0",
    }
    return ModelSpec(**whole | fields)
