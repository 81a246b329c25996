#!/usr/bin/env python3
"""Draws docs/images: the fleet's dashboard from its own queries, and the exporter's page as Chromium shows it.

The dashboards are drawn by .ci/pictures/page.html from their JSON and Prometheus's answers: not Grafana, but the same
queries, units, thresholds and places. No check: run it when the dashboards or the page change, and look at the result.

Usage: .ci/pictures.py [target/debug/aws-iot-command-exporter] [--seconds=150]     (Debian's prometheus and chromium)
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "dashboards"))
sys.dont_write_bytecode = True

import model  # noqa: E402
import stack  # noqa: E402

IMAGES = pathlib.Path("docs/images")
WIDTH = 1500
CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1.25",
    "--virtual-time-budget=3000",
]
DRAWN = {"fleet": "overview", "execution": "execution", "command": "command", "exporter": "exporter"}
PUBLISHED = {"fleet", "execution", "command"}
CHOICES = {"not_picked_up": ["60"], "silent": ["60"]}


def screenshot(url, image, height):
    with tempfile.TemporaryDirectory() as profile:
        flags = [f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}", f"--screenshot={image.absolute()}"]
        subprocess.run([*CHROMIUM, *flags, url], check=True, timeout=120, stderr=subprocess.DEVNULL)
    print(f"{image}: {image.stat().st_size // 1000} kB")


def legend(target, metric):
    text = target.get("legendFormat", "")
    if not text:
        return ", ".join(f'{name}="{value}"' for name, value in metric.items() if name not in ("__name__", "job"))
    return re.sub(r"\{\{(\w+)\}\}", lambda found: metric.get(found[1], ""), text)


def drawn(board, choices, prometheus, start, end):
    """The panels with their data in place of their queries."""
    for panel in board["panels"]:
        answers = []
        for target in panel.get("targets", []):
            expr = model.substituted(target["expr"], board, CHOICES | choices)
            if target["instant"]:
                found = prometheus.instant(expr, end)
            else:
                found = prometheus.over(expr, start, end, max(1, (end - start) / 120))
            for series in found:
                points = series.get("values") or [series["value"]]
                answers.append({
                    "name": legend(target, series["metric"]),
                    "labels": series["metric"],
                    "points": [[float(at), float(value)] for at, value in points],
                })
        yield panel | {"answers": answers}


def one_execution(prometheus, at):
    """One worth looking at: it ended by the device during the run, after it was seen in progress."""
    seen = prometheus.instant(
        'topk(1, aws_iot_command_execution_completed_timestamp_seconds '
        '- on (target, execution_id) aws_iot_command_execution_started_timestamp_seconds '
        f'and on (target, execution_id) aws_iot_command_execution_created_timestamp_seconds > {at - 3600} '
        f'and on (target, execution_id) aws_iot_command_execution_completed_timestamp_seconds > {at - 120})', at,
    )
    return seen[0]["metric"]["execution_id"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="target/debug/aws-iot-command-exporter")
    parser.add_argument("--seconds", type=int, default=150)
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path("target/ci/pictures")
    scratch.mkdir(parents=True, exist_ok=True)
    boards = model.load(pathlib.Path("deploy/grafana"))
    with stack.scraped(options.program, 300, 20, interval=5) as (demo, prometheus, began):
        time.sleep(options.seconds * 0.6)
        # A little trouble makes a picture that shows what the panels are for.
        demo.fault(probability=0.25, count=25, effect={"kind": "throttle"})
        time.sleep(options.seconds * 0.4)
        end = prometheus.last_scrape()
        model.WINDOWS["__rate_interval"] = "20s"
        model.WINDOWS["__range"] = f"{int(end - began)}s"
        screenshot(f"http://{demo.exporter}/", IMAGES / "landing-page.png", 1050)
        for name, image in DRAWN.items():
            board = boards[f"{name}.json"]
            choices = {
                "execution": {"execution_id": [one_execution(prometheus, end)]}, "command": {"command": ["update-firmware"]},
            }.get(name, {})
            facts = {
                "title": board["title"], "start": began + 4, "end": end,
                "panels": list(drawn(board, choices, prometheus, began + 4, end)),
            }
            page = (HERE / "pictures/page.html").read_text()
            file = scratch / f"{name}.html"
            file.write_text(page.replace("/*FACTS*/null", json.dumps(facts).replace("</", "<\\/")))
            bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in facts["panels"])
            folder = IMAGES if name in PUBLISHED else scratch
            screenshot(file.absolute().as_uri(), folder / f"{image}.png", bottom * 30 + 64)


if __name__ == "__main__":
    main()
