"""The demo: a sentence goes through, and the console that it names shows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.flow.gateway import STOP, WAIT

ROOT = Path(__file__).parents[2]


def test_the_console_that_the_demo_names_shows_its_sentence(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOGATE")}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    (tmp_path / "here").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"],
        cwd=tmp_path / "here",
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        transcript = re.search(r"^transcript  (.+)$", said, re.MULTILINE)
        console = re.search(r"^console     (http://127\.0\.0\.1:\d+/) ", said, re.MULTILINE)
        assert transcript is not None
        assert console is not None
        items: list[dict[str, object]] = []
        end = time.monotonic() + WAIT
        while not items and time.monotonic() < end:
            with urllib.request.urlopen(f"{console[1]}api/requests") as reply:
                items = json.load(reply)["items"]
        assert [item["transcript"] for item in items] == [transcript[1]]
        assert any(tmp_path.glob("audiogate-demo-*/audiogate.db"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP) == 0
    assert list(tmp_path.glob("audiogate-demo-*")) == []
    assert list((tmp_path / "here").iterdir()) == []
