"""What an evaluation found, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from models.evaluation.oracle import Verdict
from models.evaluation.reconstruction import Reconstruction
from models.evaluation.score import ATTRIBUTES, Spread, Tally, mistaken, tallies

PAINTED = ("color", "background", "shape")  # what a single picture can show


@dataclass(frozen=True)
class Judged:
    """One film under the oracle.

    served: what the frames show after the codec. painted: what the keyframe alone shows (its motion
    is always "none"). The PSNRs (dB) compare the centre frame with the keyframe, whole and on the
    object; drift is fidelity.background_drift of the served frames. None: there was no one object.
    """

    seed: int
    prompt: str
    asked: Verdict
    served: Verdict
    painted: Verdict
    centre_psnr: float
    centre_object_psnr: float | None
    drift: float | None
    digest: str  # of the frames before the codec


@dataclass(frozen=True)
class Report:
    """Tables of the served videos and of the keyframes alone, picture measures, and every film.

    reconstruction: None where the autoencoder was not looked at.
    """

    video: dict[str, Tally]
    keyframe: dict[str, Tally]
    centre_psnr_db: Spread | None
    centre_object_psnr_db: Spread | None
    background_drift_of_255: Spread | None
    reconstruction: Reconstruction | None
    misses: dict[str, dict[str, int]]
    films: tuple[Judged, ...]

    @classmethod
    def of(cls, judged: Sequence[Judged], reconstruction: Reconstruction | None) -> "Report":
        """Sum the films up."""
        served = [(each.asked, each.served) for each in judged]
        return cls(
            video=tallies(served, ATTRIBUTES),
            keyframe=tallies([(each.asked, each.painted) for each in judged], PAINTED),
            centre_psnr_db=Spread.of(each.centre_psnr for each in judged),
            centre_object_psnr_db=Spread.of(each.centre_object_psnr for each in judged),
            background_drift_of_255=Spread.of(each.drift for each in judged),
            reconstruction=reconstruction,
            misses=mistaken(served),
            films=tuple(judged),
        )

    def as_json(self) -> dict[str, object]:
        """Plain values; tables with shares and intervals."""
        vae = self.reconstruction
        return {
            **asdict(self),
            "video": _plain(self.video),
            "keyframe": _plain(self.keyframe),
            "reconstruction": vae and {**asdict(vae), "oracle": _plain(vae.oracle)},
        }

    def text(self) -> str:
        """The report for people."""
        vae = self.reconstruction
        return "\n".join(
            [
                *_table("video, as served", self.video),
                *_table("keyframe alone", self.keyframe),
                *(_table("rendered, VAE, codec", vae.oracle) if vae else ()),
                "pictures",
                _line("centre frame vs keyframe", "dB", self.centre_psnr_db),
                _line("  on the object", "dB", self.centre_object_psnr_db),
                _line("background between frames", "/ 255", self.background_drift_of_255),
                *(_vae_lines(vae) if vae else ()),
                "",
                "mistakes, asked -> seen",
                *(f"  {name:<12} {_most(misses)}" for name, misses in self.misses.items()),
            ]
        )


def _plain(counted: Mapping[str, Tally]) -> dict[str, dict[str, float]]:
    return {name: tally.as_json() for name, tally in counted.items()}


def _table(title: str, counted: Mapping[str, Tally]) -> list[str]:
    lines = [f"{title:<22}      right    share   95 % interval"]
    for name, tally in counted.items():
        low, high = tally.interval
        right = f"{tally.right} / {tally.total}"
        lines.append(f"  {name:<20} {right:>11}   {tally.share:6.1%}   {low:.1%} to {high:.1%}")
    return [*lines, ""]


def _line(name: str, unit: str, spread: Spread | None) -> str:
    if spread is None:
        return f"  {name:<26} nothing to measure"
    return (
        f"  {name:<26} mean {spread.mean:.2f} {unit}, 5th to 95th percentile "
        f"{spread.p5:.2f} to {spread.p95:.2f} ({spread.measured} measured)"
    )


def _vae_lines(vae: Reconstruction) -> list[str]:
    return [
        f"  {'VAE alone':<26} {vae.psnr_db:.2f} dB, on the object {vae.object_psnr_db:.2f} dB "
        f"({vae.frames} held-out frames)"
    ]


def _most(misses: Mapping[str, int]) -> str:
    return ", ".join(f"{words} ({times})" for words, times in list(misses.items())[:6]) or "none"
