"""What both diffusion stages are trained towards."""

from dataclasses import dataclass

from torch import Tensor

from models.schedule import Schedule


@dataclass(frozen=True)
class Objective:
    """Noise schedule and weighting.

    snr_cap is gamma of Min-SNR weighting (Hang et al. 2023), snr_floor the other end, as in truncated SNR
    weighting (Salimans and Ho 2022). text_dropped, centre_share (stage 1) and
    redrawn_share (stage 2) are probabilities. appearance_weight is the paper's lambda, keyframe_noise
    the standard deviation of noise laid over z^c, start_share, start_weight and start_weight_most the share,
    gamma and largest gamma of `first_step` (all stage 2). reading_weight is that of
    `caption_reading` (stage 1). rotating_weight says how many times as often as any other clip a rotating one
    is drawn. contrary_share of the captions (stage 2) name another colour and background than z^c shows.
    """

    beta_start: float
    beta_end: float
    train_timesteps: int
    snr_cap: float
    text_dropped: float
    snr_floor: float = 0.0
    centre_share: float = 1.0
    reading_weight: float = 0.0
    appearance_weight: float = 0.0
    redrawn_share: float = 0.0
    keyframe_noise: float = 0.0
    start_share: float = 0.0
    start_weight: float = 0.0
    start_weight_most: float = 0.0
    rotating_weight: float = 1.0
    contrary_share: float = 0.0

    def schedule(self) -> Schedule:
        """The forward process."""
        return Schedule(self.beta_start, self.beta_end, self.train_timesteps)


def weighted_error(
    schedule: Schedule, predicted: Tensor, target: Tensor, timesteps: Tensor, objective: Objective
) -> Tensor:
    """Mean squared error of an epsilon prediction (B, ...), weighted by clamp(SNR, floor, cap) / SNR.

    `target` is where `predicted` is, `timesteps` (B,) on the CPU, as the schedule is.

    The epsilon error of a nearly clean latent is large and matters little: x_0 moves by error / sqrt(SNR).
    That of nearly pure noise is small and matters much: there, text alone decides what will be seen.
    """
    bar = schedule.alpha_bar[timesteps]
    snr = bar / (1 - bar)
    error = (predicted - target).square().flatten(1).mean(dim=1)
    weight = snr.clamp(objective.snr_floor, objective.snr_cap) / snr
    return (weight.to(error.device) * error).mean()
