"""How the whole suite runs: the same examples every time, so that a red run is red again.

``HYPOTHESIS_PROFILE=explore make test`` looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
