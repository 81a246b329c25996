"""The dashboards as typed constants: the TypeScript compiler reads each against Grafana's own types, so that an unknown
key, a missing one or a value of another type is an error."""

import json
import pathlib
import re
import shutil
import subprocess

import model

HERE = pathlib.Path(__file__).parent
WORK = pathlib.Path("target/ci/grafana-types")
# Panel types that grafana.ts has types for.
KINDS = {"timeseries", "stat", "bargauge", "state-timeline", "table"}


def faults(options):
    _install()
    source = ['import type { Board, PanelOf, Row } from "./grafana.js";', ""]
    places = {}
    for name, board in model.load(options.grafana).items():
        noun = name.removesuffix(".json")
        for panel in board["panels"]:
            kind = "Row" if panel["type"] == "row" else f'PanelOf<"{panel["type"]}">'
            if panel["type"] != "row" and panel["type"] not in KINDS:
                return [f"{name}: no types are known for the panel type {panel['type']}"]
            # One line for each, so that a message's line tells the panel.
            source.append(f"export const {noun}_{panel['id']}: {kind} = {json.dumps(panel)};")
            places[len(source)] = f"{name}, panel {panel['title']!r}"
        source.append(f"export const {noun}: Board = {json.dumps(board | {'panels': []})};")
        places[len(source)] = name
    (WORK / "dashboards.ts").write_text("\n".join(source) + "\n")
    return _compile(places)


def _install():
    """The packages of the lock file, anew only when it changes."""
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "grafana.ts", WORK / "grafana.ts")
    shutil.copy(HERE / "tsconfig.json", WORK / "tsconfig.json")
    lock, installed = HERE / "package-lock.json", WORK / "installed.json"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, WORK / name)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(npm, cwd=WORK, check=True, timeout=180)
    shutil.copy(lock, installed)


def _compile(places):
    compiler = ["node", "node_modules/typescript/bin/tsc", "--project", "tsconfig.json", "--pretty", "false"]
    done = subprocess.run(compiler, cwd=WORK, capture_output=True, text=True, timeout=240)
    found = []
    for line in done.stdout.splitlines():
        at = re.match(r"dashboards\.ts\((\d+),\d+\): (.*)", line)
        if at:
            found.append(f"{places.get(int(at[1]), 'line ' + at[1])}: {at[2]}")
        elif not line.startswith(" "):
            found.append(line)
    if done.returncode and not found:
        found.append(f"tsc exits with {done.returncode}: {done.stdout}{done.stderr}")
    print(f"  {len(places)} constants against @grafana/schema")
    return found
