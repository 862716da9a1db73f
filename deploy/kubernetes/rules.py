"""Writes the rules for Prometheus as the operator's PrometheusRule: the same groups, word for word."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
RULES: Final = FOLDER.parent / "prometheus" / "rules.yml"
MADE: Final = FOLDER / "components" / "rules" / "prometheusrule.yaml"

HEAD: Final = """\
# Made from deploy/prometheus/rules.yml by deploy/kubernetes/rules.py: change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: audiogate
  labels:
    app.kubernetes.io/name: audiogate
spec:
"""


def made() -> str:
    """Return the PrometheusRule as text: the rules' file, indented below ``spec``."""
    return HEAD + textwrap.indent(RULES.read_text(encoding="utf-8"), "  ")


if __name__ == "__main__":
    MADE.write_text(made(), encoding="utf-8")
