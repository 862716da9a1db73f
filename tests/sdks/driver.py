"""The Node SDKs at work: one Node process per session, one call per line of JSON (``node/calls.mjs``)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.bootstrap import NODE_FOLDER

GIVE_UP = 10.0  # seconds for Node to end when its stdin has


class Node:
    """A running Node process that makes one SDK call after the other."""

    def __init__(self) -> None:
        # Keys and addresses of whoever runs the tests are no part of them.
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("OPENAI", "PORTKEY"))}
        self._process = subprocess.Popen(
            ["node", "--no-warnings", "calls.mjs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=NODE_FOLDER,
            env=environment,
            text=True,
        )

    def call(self, **request: Any) -> dict[str, Any]:
        """Make one call; return ``{"value", "headers"}`` or ``{"error"}``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"Node ended with {self._process.wait(GIVE_UP)}; it says why on stderr"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process: it goes when its stdin ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(GIVE_UP)
        self._process.stdout.close()
