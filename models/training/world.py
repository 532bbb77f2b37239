"""A procedural world: one coloured shape that moves over a plain background.

Small enough to be learned on two cores, exact enough that classical vision can judge what a
model made of it. Geometry is written for a 64 x 64 canvas and scales with it.
Edges are soft: coverage is read from signed distances (negative inside), clipped to one pixel.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

CANVAS = 64.0  # pixels; every length of a Scene is given on this canvas

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (225, 30, 35),
    "green": (30, 165, 50),
    "blue": (35, 65, 235),
    "yellow": (250, 220, 25),
    "magenta": (225, 40, 210),
    "cyan": (35, 210, 225),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "black": (12, 12, 12),
    "grey": (128, 128, 128),
    "beige": (225, 195, 140),
}
SHAPES = ("circle", "square", "triangle", "ring", "star")
MOTIONS = ("left", "right", "up", "down", "growing", "shrinking", "rotating", "still")
ROTATING_SHAPES = ("square", "triangle", "star")  # a turning disc looks like a still one

# Circumradius over `size`: pointed shapes reach further out to look as big as a disc.
REACH = {"circle": 1.0, "ring": 1.0, "square": 1.15, "triangle": 1.2, "star": 1.2}
RING_HOLE = 0.52  # inner over outer radius
STAR_WAIST = 0.42  # inner over outer radius of the five-pointed star

# Unit steps in image coordinates (x right, y down) of the four translations.
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
MARGIN = 2.5  # pixels of background kept around the shape at every moment (soft tips reach past REACH)

Pixels = NDArray[np.uint8]
Reals = NDArray[np.float32]


@dataclass(frozen=True)
class Combination:
    """The four attributes that a caption names."""

    color: str
    shape: str
    background: str
    motion: str

    def __post_init__(self) -> None:
        for field, value, allowed in (
            ("color", self.color, tuple(COLORS)),
            ("shape", self.shape, SHAPES),
            ("background", self.background, tuple(BACKGROUNDS)),
            ("motion", self.motion, MOTIONS),
        ):
            if value not in allowed:
                raise ValueError(f"{field} is {value!r}; it must be one of {', '.join(allowed)}")
        if self.motion == "rotating" and self.shape not in ROTATING_SHAPES:
            raise ValueError(f"shape is {self.shape!r}; only {', '.join(ROTATING_SHAPES)} visibly rotate")


@dataclass(frozen=True)
class Scene(Combination):
    """One video, exactly.

    size: radius in pixels at mid-clip, 8 to 14 (times REACH[shape] for the circumradius).
    speed: the whole clip's change: pixels travelled, ratio of last to first radius (or first to
    last when shrinking), or degrees turned clockwise; 0 when still.
    position: centre (x, y) in pixels at mid-clip. phase: degrees of clockwise tilt at the start.
    """

    size: float
    speed: float
    position: tuple[float, float]
    phase: float


def all_combinations() -> list[Combination]:
    """Every combination that the world can show, in a fixed order."""
    return [
        Combination(color, shape, background, motion)
        for color, shape, background, motion in product(COLORS, SHAPES, BACKGROUNDS, MOTIONS)
        if motion != "rotating" or shape in ROTATING_SHAPES
    ]


def place(combination: Combination, rng: np.random.Generator) -> Scene:
    """Draw size, speed, position and phase so that the shape stays wholly inside the frame."""
    motion = combination.motion
    size, speed, phase = float(rng.uniform(9.5, 12.5)), 0.0, 0.0
    if motion in DIRECTIONS:
        speed = float(rng.uniform(18.0, 28.0))
    elif motion in ("growing", "shrinking"):
        size, speed = float(rng.uniform(11.5, 13.5)), float(rng.uniform(1.65, 2.0))
    elif motion == "rotating":
        size, speed = float(rng.uniform(10.0, 14.0)), float(rng.uniform(52.0, 65.0))
        phase = float(rng.uniform(-8.0, 8.0))
    widest = size * (speed**0.5 if motion in ("growing", "shrinking") else 1.0)
    room = widest * REACH[combination.shape] + MARGIN
    dx, dy = DIRECTIONS.get(motion, (0.0, 0.0))
    low_x, low_y = room + abs(dx) * speed / 2, room + abs(dy) * speed / 2
    x, y = float(rng.uniform(low_x, CANVAS - low_x)), float(rng.uniform(low_y, CANVAS - low_y))
    return Scene(
        combination.color,
        combination.shape,
        combination.background,
        motion,
        size=size,
        speed=speed,
        position=(x, y),
        phase=phase,
    )


def trajectory(scene: Scene, moments: Reals) -> tuple[Reals, Reals, Reals, Reals]:
    """Centre x, centre y, radius (pixels) and clockwise tilt (radians) at each moment in [0, 1]."""
    swing = moments - np.float32(0.5)
    dx, dy = DIRECTIONS.get(scene.motion, (0.0, 0.0))
    x = scene.position[0] + dx * scene.speed * swing
    y = scene.position[1] + dy * scene.speed * swing
    growth = {"growing": 1.0, "shrinking": -1.0}.get(scene.motion, 0.0)
    radius = scene.size * np.power(max(scene.speed, 1.0), growth * swing)
    turned = scene.speed * moments if scene.motion == "rotating" else np.zeros_like(moments)
    tilt = np.deg2rad(scene.phase + turned)
    return (x.astype(np.float32), y.astype(np.float32), radius.astype(np.float32), tilt.astype(np.float32))


def signed_distance(shape: str, u: Reals, v: Reals, radius: Reals) -> Reals:
    """Distance in pixels from (u right, v down) to the edge of an upright shape; negative inside.

    Exact along straight edges and arcs, a bound beyond corners, which one-pixel edges never show.
    """
    length = np.hypot(u, v)
    if shape == "circle":
        return length - radius
    if shape == "ring":
        return np.maximum(length - radius, RING_HOLE * radius - length)
    outer = radius * np.float32(REACH[shape])
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - outer * np.float32(0.5**0.5)
    if shape == "triangle":  # apex up; apothem is half the circumradius
        slanted = np.abs(u) * np.float32(3**0.5 / 2) - v * np.float32(0.5)
        return np.maximum(slanted, v) - outer * np.float32(0.5)
    # Star: fold the plane into one half point (36 degrees), where the edge is a straight line.
    sector = np.float32(2 * np.pi / 5)
    angle = np.arctan2(u, -v)
    folded = np.abs((angle + sector / 2) % sector - sector / 2)
    px, py = length * np.cos(folded), length * np.sin(folded)
    waist_x, waist_y = STAR_WAIST * np.cos(np.pi / 5), STAR_WAIST * np.sin(np.pi / 5)
    edge = float(np.hypot(1.0 - waist_x, waist_y))
    normal = np.float32(waist_y / edge), np.float32((1.0 - waist_x) / edge)
    distance: Reals = (px - outer) * normal[0] + py * normal[1]
    return distance


def coverage(scene: Scene, moments: Reals, size: int = 64) -> Reals:
    """Share of each pixel that the shape covers, float32 in [0, 1], (F, H, W)."""
    scale = np.float32(CANVAS / size)
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale
    x, y, radius, tilt = (track[:, None, None] for track in trajectory(scene, moments))
    du, dv = axis[None, None, :] - x, axis[None, :, None] - y
    if scene.motion == "rotating":
        cos, sin = np.cos(tilt), np.sin(tilt)
        du, dv = du * cos + dv * sin, dv * cos - du * sin
    else:
        du, dv = np.broadcast_arrays(du, dv)
    inside = np.float32(0.5) - signed_distance(scene.shape, du, dv, radius) / scale
    return np.clip(inside, 0.0, 1.0).astype(np.float32)


def moments_of(frames: int) -> Reals:
    """Moments in [0, 1] of `frames` evenly spaced frames."""
    if frames < 1:
        raise ValueError(f"frames is {frames}; it must be at least 1")
    return np.linspace(0.0, 1.0, frames, dtype=np.float32)


def render_moments(scene: Scene, moments: Reals, size: int = 64) -> Pixels:
    """Frames at the given moments: uint8 RGB (F, H, W, 3)."""
    alpha = coverage(scene, moments, size)[..., None]
    front = np.asarray(COLORS[scene.color], dtype=np.float32)
    back = np.asarray(BACKGROUNDS[scene.background], dtype=np.float32)
    return np.rint(back + alpha * (front - back)).astype(np.uint8)


def render(scene: Scene, frames: int = 16, size: int = 64) -> Pixels:
    """The whole clip: uint8 RGB (F, H, W, 3), a pure function of the scene."""
    return render_moments(scene, moments_of(frames), size)
