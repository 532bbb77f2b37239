"""A host's time of day that a test can move on."""

import time


class TimeAhead:
    """Real time plus what a test lets pass: files have real times."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
