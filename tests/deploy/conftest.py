"""Fixtures of the drain test: an upstream and gateways, as in the flow tests."""

from __future__ import annotations

from tests.flow.conftest import folder, own_gateway, upstream

__all__ = ["folder", "own_gateway", "upstream"]
