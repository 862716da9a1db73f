"""Writes the dashboards, or says which of them are not what this code makes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from grafana.cost import cost
from grafana.operating import operating

FOLDER: Final = Path(__file__).parent / "dashboards"


def text(dashboard: dict[str, Any]) -> str:
    """Return a dashboard as it lies in the repository: sorted keys, so that a diff shows what changed."""
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write, or with ``--check`` compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    check = parser.parse_args().check
    code = 0
    for name, dashboard in {"audiogate.json": operating(), "audiogate-cost.json": cost()}.items():
        path, wanted = FOLDER / name, text(dashboard)
        if check and (not path.exists() or path.read_text(encoding="utf-8") != wanted):
            print(f"{path.name} is not what grafana/ makes: run python -m grafana", file=sys.stderr)
            code = 1
        if not check:
            path.write_text(wanted, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
