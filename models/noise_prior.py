"""Appearance Noise Prior (MicroCinema): the noise of every frame leans towards the keyframe.

Shapes: noise (B, F, C, H, W), keyframe latent z^c (B, C, H, W).
"""

from __future__ import annotations

from torch import Tensor


def with_appearance(noise: Tensor, z_c: Tensor, weight: float) -> Tensor:
    """eps = eps_n + weight [z^c, ..., z^c].

    In training `weight` is lambda and the result is both the forward process's noise and the regression
    target; in sampling it is gamma and the result is where the deterministic sampler starts (before its
    own scaling, 1 for DDIM and DPM-Solver++). Weight 0 is the plain case, bit for bit.
    """
    if weight == 0.0:
        return noise
    return noise + weight * z_c[:, None]
