"""Writes the dashboards in dashboards/ from source/, so that they stay consistent with each other.

Usage: python3 deploy/grafana/generate.py [FOLDER]
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from source import command, execution, exporter, fleet  # noqa: E402


def files():
    """Name and text of each dashboard."""
    for name, module in {"fleet": fleet, "command": command, "execution": execution, "exporter": exporter}.items():
        yield f"{name}.json", json.dumps(module.board().json(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files():
        (folder / name).write_text(text)
