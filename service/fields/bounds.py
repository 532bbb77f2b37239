"""What a client asked against what a model can do: every missed bound is found, none hides another."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite

from service.contracts.model_spec import Bounds, ModelSpec, Number
from service.contracts.request import MAX_PRIORITY, MAX_SEED, MIN_PRIORITY, PictureRef, VideoRequest
from service.fields.video import CreateVideo
from service.refusals import FieldFault, shown

#: seconds x fps may miss a whole frame count by this much (2.1 s x 10 fps is not exactly 21 in binary).
FRAME_TOLERANCE = 1e-6


@dataclass
class BoundsCheck:
    """Checks one request against one model and collects the faults; `unread` are fields already at fault."""

    asked: CreateVideo
    spec: ModelSpec
    unread: frozenset[str] = frozenset()
    faults: list[FieldFault] = field(default_factory=list)

    def request(self, *, seed: int, picture: PictureRef | None = None) -> VideoRequest | None:
        """The whole request with the model's defaults and, where the client gave none, this `seed`.

        None if any field is out of its bound: then `faults` says which.
        """
        asked, spec = self.asked, self.spec
        if asked.prompt is None and "prompt" not in self.unread:
            bound = f"text of 1 to {spec.prompt_max_chars} characters"
            self.faults.append(FieldFault("prompt", "", bound, f"prompt is required: {bound}"))
        self._check_length("prompt", asked.prompt)
        self._check_length("negative_prompt", asked.negative_prompt)
        size = asked.size or spec.default_size
        if size not in spec.sizes:
            self._fault("size", _written(size), _one_of(map(_written, spec.sizes)))
        fps = self._within("fps", asked.fps, spec.fps)
        num_frames = self._num_frames(fps)
        steps = self._within("num_inference_steps", asked.num_inference_steps, spec.steps)
        guidance_scale = self._within("guidance_scale", asked.guidance_scale, spec.guidance_scale)
        if asked.gamma and spec.gamma.max == 0:
            self._fault("gamma", asked.gamma, f"0: {spec.name} has no Appearance Noise Prior")
            gamma = 0.0
        else:
            gamma = self._within("gamma", asked.gamma, spec.gamma)
        if asked.negative_prompt and not spec.negative_prompt:
            self._fault("negative_prompt", asked.negative_prompt, f"left out: {spec.name} reads none")
        sampler = asked.sampler or spec.samplers[0]
        if sampler not in spec.samplers:
            self._fault("sampler", sampler, _one_of(spec.samplers))
        fixed_seed = self._between("seed", asked.seed, 0, MAX_SEED, seed)
        priority = self._between("priority", asked.priority, MIN_PRIORITY, MAX_PRIORITY, 0)
        if (
            asked.webhook_events is not None
            and asked.webhook_url is None
            and "webhook_url" not in self.unread
        ):
            self._fault("webhook_events", list(asked.webhook_events), "left out without webhook_url")
        if self.faults or self.unread or asked.prompt is None:
            return None
        return VideoRequest(
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt or "",
            model=spec.name,
            width=size[0],
            height=size[1],
            num_frames=num_frames,
            fps=fps,
            seed=fixed_seed,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            gamma=gamma,
            sampler=sampler,
            priority=priority,
            input_picture=picture,
            webhook_url=asked.webhook_url,
            webhook_events=asked.webhook_events or (),
            metadata=asked.metadata or {},
        )

    def _num_frames(self, fps: int) -> int:
        """From `num_frames`, from `seconds` x fps, or the default; given both, they must agree."""
        asked, frames = self.asked, self.spec.frames
        count = asked.num_frames
        if count is not None and not frames.allows(count):
            self._fault("num_frames", count, frames.in_words())
            return frames.default
        if asked.seconds is None:
            return frames.default if count is None else count
        if not self.spec.fps.allows(fps) or "fps" in self.unread:
            return frames.default  # the frame rate is at fault already: its product would mean nothing
        product = asked.seconds * fps
        wanted = round(product) if isfinite(product) else 0
        if abs(product - wanted) > FRAME_TOLERANCE or not frames.allows(wanted):
            self._fault(
                "seconds",
                asked.seconds,
                f"a length of {frames.in_words()} at {fps} fps, "
                f"that is {frames.min / fps:g} to {frames.max / fps:g} s",
            )
        elif count is not None and count != wanted:
            self._fault("num_frames", count, f"{wanted}, which is {asked.seconds:g} s at {fps} fps")
        return wanted

    def _within(self, name: str, value: Number | None, bounds: Bounds[Number]) -> Number:
        return self._between(name, value, bounds.min, bounds.max, bounds.default)

    def _between(
        self, name: str, value: Number | None, least: Number, most: Number, default: Number
    ) -> Number:
        if value is None:
            return default
        if not least <= value <= most:
            self._fault(name, value, f"{least} to {most}")
        return value

    def _check_length(self, name: str, text: str | None) -> None:
        limit = self.spec.prompt_max_chars
        if text is not None and len(text) > limit:
            bound = f"at most {limit} characters"
            self.faults.append(
                FieldFault(name, shown(text), bound, f"{name} must be {bound}, got {len(text)} characters")
            )

    def _fault(self, name: str, value: object, bound: str) -> None:
        self.faults.append(FieldFault.of(name, value, bound))


def _written(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _one_of(words: Iterable[str]) -> str:
    return f"one of {', '.join(words)}"
