"""A lease that the sweep could not keep up with is refused at start."""

import pytest
from pydantic import ValidationError

from service.settings import GatewaySettings
from service.sweep import Sweep


def test_a_lease_must_outlast_two_turns_of_the_sweep() -> None:
    """reap.lua takes a gap of more than half a lease for an outage and extends instead of reaping."""
    with pytest.raises(ValidationError, match="greater than or equal to 3"):
        GatewaySettings(lease_s=2.0)
    shortest = GatewaySettings(lease_s=3.0).lease_s
    assert shortest / 2 > Sweep.every_s
