"""Writes what is made from other files: the rules for the Prometheus operator, and what the overlays render to.

Run it after a change below ``deploy/``; the overlays need kubectl (1.27 or newer).
"""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
RULES: Final = FOLDER.parent / "prometheus" / "rules.yml"
PROMETHEUS_RULE: Final = FOLDER / "components" / "rules" / "prometheusrule.yaml"
OVERLAYS: Final = ("edge", "sidecar", "sidecar-classic")

_HEAD: Final = """\
# Made from deploy/prometheus/rules.yml by deploy/kubernetes/make.py: change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: audiogate
  labels:
    app.kubernetes.io/name: audiogate
spec:
"""
_RENDERED: Final = """\
# What overlays/{name} renders to, made by deploy/kubernetes/make.py: to read, or to apply without kustomize.
"""


def prometheus_rule() -> str:
    """Return the PrometheusRule as text: the rules' file, word for word, below ``spec``."""
    return _HEAD + textwrap.indent(RULES.read_text(encoding="utf-8"), "  ")


def render(folder: Path) -> str:
    """Return what kustomize makes of a folder. Raises subprocess.CalledProcessError."""
    return subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Write all of it."""
    PROMETHEUS_RULE.write_text(prometheus_rule(), encoding="utf-8")
    for name in OVERLAYS:
        text = _RENDERED.format(name=name) + render(FOLDER / "overlays" / name)
        (FOLDER / "rendered" / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
