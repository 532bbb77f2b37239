"""The Frechet distance between two sets of feature vectors, and how far chance moves it."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.ablations.features import Features


@dataclass(frozen=True)
class Distance:
    """A squared Frechet distance and the 95 % interval around it, value +- reach."""

    value: float
    reach: float

    def as_json(self) -> dict[str, float]:
        """value and reach."""
        return asdict(self)


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


def distance(rendered: Features, made: Features, prompts: int, draws: int, seed: int) -> Distance:
    """Distance of `made` (N, D) from `rendered`, and 1.96 bootstrap deviations of it.

    Films of one prompt look alike, so whole prompts are drawn again, `draws` times: row i of `made`
    belongs to prompt i % prompts. A resample repeats films, which raises every distance a little: its
    deviation is used, not its percentiles. Raises ValueError when `prompts` does not divide N.
    """
    if prompts < 1 or len(made) % prompts:
        raise ValueError(f"prompts is {prompts}; it must divide the {len(made)} films")
    rng = np.random.default_rng(seed)
    by_prompt = made.reshape(-1, prompts, made.shape[1])
    values = [
        frechet(rendered, by_prompt[:, rng.integers(prompts, size=prompts)].reshape(made.shape))
        for _ in range(draws)
    ]
    return Distance(frechet(rendered, made), 1.96 * float(np.std(values)))
