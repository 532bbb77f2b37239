"""What a person sees: prefixed log lines and one line of progress. Plain text where nobody watches."""

from collections.abc import Callable
from typing import TextIO

from service.client import Video

NAME_COLUMNS = 10
BAR_COLUMNS = 30
#: ANSI foreground colours, dealt out to names in the order in which they first speak.
COLOURS = (36, 35, 32, 33, 34, 31)


def prefixed_log(out: TextIO) -> Callable[[str, str], None]:
    """A `show(name, line)` that writes `name | line`, the name in a colour of its own on a terminal."""
    colours: dict[str, int] = {}

    def show(name: str, line: str) -> None:
        prefix = f"{name:<{NAME_COLUMNS}} |"
        if out.isatty():
            colour = colours.setdefault(name, COLOURS[len(colours) % len(COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        out.write(f"{prefix} {line}\n")
        out.flush()

    return show


class ProgressBar:
    """One line that is rewritten in place on a terminal; elsewhere a line per stage and ten per cent."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = ""
        self._drawn = 0

    def show(self, video: Video) -> None:
        """Draw the job's own progress, which counts finished steps and nothing else."""
        self.draw(video.progress, video.stage or video.state)

    def draw(self, percent: int, words: str) -> None:
        """`percent` is 0 to 100."""
        if self._out.isatty():
            full = BAR_COLUMNS * percent // 100
            line = f"{'█' * full}{'░' * (BAR_COLUMNS - full)} {percent:3} %  {words}"
            self._out.write("\r" + line.ljust(self._drawn))
            self._drawn = len(line)
        elif (mark := f"{percent // 10}{words}") != self._last:
            self._last = mark
            self._out.write(f"{percent:3} %  {words}\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line, so that what follows starts on a fresh one."""
        if self._drawn:
            self._out.write("\n")
            self._drawn = 0
