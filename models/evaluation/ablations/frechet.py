"""The Frechet distance between two sets of feature vectors, and how far chance moves it."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.ablations.features import Features


@dataclass(frozen=True)
class Distance:
    """A squared Frechet distance, or a difference of two, and its 95 % interval, value +- reach."""

    value: float
    reach: float

    def as_json(self) -> dict[str, float]:
        """value and reach."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """A distance, and what it became each time other prompts were drawn.

    A resample repeats films, which raises every distance a little: the deviation of `draws` is used, not
    its percentiles.
    """

    value: float
    draws: tuple[float, ...]

    @property
    def distance(self) -> Distance:
        """The value within 1.96 deviations of its draws."""
        return Distance(self.value, 1.96 * float(np.std(self.draws)))

    def minus(self, other: "Measured") -> Distance:
        """The difference. Both must have drawn the same prompts: what a prompt adds to both then cancels."""
        if len(self.draws) != len(other.draws):
            raise ValueError(f"draws are {len(self.draws)} and {len(other.draws)}; they must be the same")
        apart = np.subtract(self.draws, other.draws)
        return Distance(self.value - other.value, 1.96 * float(np.std(apart)))


def frechet(a: Features, b: Features) -> float:
    """|mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) for sets (N, D) and (M, D), at least 0.

    The distance of Heusel et al. 2017 (FID) and Unterthiner et al. 2018 (FVD), between normal
    distributions with the sets' means and covariances S. Raises ValueError unless N and M exceed D: the
    covariance of fewer vectors than dimensions says nothing about the directions that they do not span.
    """
    for name, features in (("a", a), ("b", b)):
        if features.shape[0] <= features.shape[1]:
            raise ValueError(
                f"{name} has {features.shape[0]} vectors of {features.shape[1]} dimensions; "
                "a Frechet distance needs more vectors than dimensions"
            )
    apart = float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum())
    s_a, s_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    root = _root(s_a)
    # tr (S_a S_b)^(1/2) = tr (R S_b R)^(1/2) with R = S_a^(1/2): symmetric, so no complex numbers arise
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ s_b @ root), 0, None)).sum()
    return max(0.0, apart + float(np.trace(s_a) + np.trace(s_b) - 2 * shared))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def measure(rendered: Features, made: Features, prompts: int, draws: int, seed: int) -> Measured:
    """Distance of `made` (N, D) from `rendered`, as it is and with whole prompts drawn again, `draws` times.

    Films of one prompt look alike, so a prompt's films are drawn together: row i of `made` belongs to prompt
    i % prompts. Raises ValueError when `prompts` does not divide N.
    """
    if prompts < 1 or len(made) % prompts:
        raise ValueError(f"prompts is {prompts}; it must divide the {len(made)} films")
    rng = np.random.default_rng(seed)
    by_prompt = made.reshape(-1, prompts, made.shape[1])
    values = [
        frechet(rendered, by_prompt[:, rng.integers(prompts, size=prompts)].reshape(made.shape))
        for _ in range(draws)
    ]
    return Measured(frechet(rendered, made), tuple(values))
