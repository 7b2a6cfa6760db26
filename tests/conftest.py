"""Settings shared by the whole suite."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# Machines differ in speed by an order of magnitude; a time limit per example would test the machine.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.register_profile(
    "repeatable",
    parent=settings.get_profile("default"),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # whether a test fails is asked, not by how little
)
settings.load_profile(os.environ.get("TRIONYX_HYPOTHESIS", "default"))
