"""A real Prometheus of the tests' own: it scrapes one gateway every second and answers queries."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.flow.gateway import free_port

START = 20.0  # seconds a start may take on a busy machine
ROOT = Path(__file__).parents[2]


class Prometheus:
    """Prometheus with the project's own rules, in a temporary folder."""

    def __init__(self, ops_port: int, *, scrape_seconds: int = 1) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
        config = {
            "global": {"scrape_interval": f"{scrape_seconds}s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules.yml")],
            "scrape_configs": [
                {
                    "job_name": "audiogate",
                    "sample_limit": 5000,
                    "static_configs": [{"targets": [f"127.0.0.1:{ops_port}"], "labels": {"instance": "gateway-1"}}],
                }
            ],
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_ready()

    def _wait_ready(self) -> None:
        end = time.monotonic() + START
        while True:
            try:
                if self._get("/-/ready")[0] == 200:
                    return
            except OSError:
                pass
            assert self._process.poll() is None, f"Prometheus ended: {self.log()}"
            assert time.monotonic() < end, f"Prometheus was not ready after {START} s: {self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        """What it wrote, warnings and worse."""
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def _get(self, path: str, **parameters: Any) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(parameters)}")
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def api(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer of the HTTP API."""
        status, body = self._get(f"/api/v1/{path}", **parameters)
        document = json.loads(body)
        assert status == 200, f"{parameters}: {document.get('error')}"
        return document["data"]

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Return the value of each series now, with its labels; what is not a number is left out."""
        data = self.api("query", query=expr)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        values = [(found["metric"], float(found["value"][1])) for found in data["result"]]
        return [(labels, value) for labels, value in values if math.isfinite(value)]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[tuple[dict[str, str], Any]]:
        """Return each series with its ``(time, value)`` pairs, in seconds since the epoch."""
        data = self.api("query_range", query=expr, start=start, end=end, step=step)
        return [
            (found["metric"], [(float(when), float(value)) for when, value in found["values"]])
            for found in data["result"]
        ]

    def exemplars(self, expr: str, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Return the exemplars of the last seconds."""
        now = time.time()
        data = self.api("query_exemplars", query=expr, start=now - seconds, end=now + 1)
        return [exemplar for found in data for exemplar in found["exemplars"]]

    def stop(self) -> None:
        """End it and remove what it kept."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder)
