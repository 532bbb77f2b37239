"""Which AppearNet block feeds which block of the main network (figure "overall architecture"; ADR 0006).

Targets and sources are block names: ``down.<level>.resnet.<layer>``, ``down.<level>.attention.<layer>``,
``up.<k>.resnet.<n>``, ``up.<k>.attention.<n>`` (k = 0 is the deepest decoder level) and ``mid``.
"""

from __future__ import annotations

from models.spec import UNetSpec

MIDDLE = "mid"


def pairing(spec: UNetSpec) -> dict[str, str]:
    """Map every injected block of the main network to its AppearNet block of the same resolution.

    Drawn in the figure: the middle block feeds the deepest encoder ResBlock and the first decoder
    ResBlock. Derived: every other decoder block takes the AppearNet block whose skip it consumes; a
    downsample or conv_in skip has no block of its own at that resolution, so the one just consumed
    (the level's first) is taken again.
    """
    pairs: dict[str, str] = {}
    last = spec.levels - 1
    for level in range(spec.levels):
        for layer in range(spec.layers):
            name = f"down.{level}.resnet.{layer}"
            deepest = level == last and layer == spec.layers - 1
            pairs[name] = MIDDLE if deepest else name
            if spec.attention[level]:
                pairs[f"down.{level}.attention.{layer}"] = f"down.{level}.attention.{layer}"
    for k in range(spec.levels):
        level = last - k
        for n in range(spec.layers + 1):
            layer = max(spec.layers - 1 - n, 0)
            first = k == 0 and n == 0
            pairs[f"up.{k}.resnet.{n}"] = MIDDLE if first else f"down.{level}.resnet.{layer}"
            if spec.attention[level]:
                pairs[f"up.{k}.attention.{n}"] = f"down.{level}.attention.{layer}"
    return pairs


def source_channels(spec: UNetSpec, source: str) -> int:
    """Width of the AppearNet embedding called `source`."""
    if source == MIDDLE:
        return spec.channels[-1]
    return spec.channels[int(source.split(".")[1])]
