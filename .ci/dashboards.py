#!/usr/bin/env python3
"""Checks the Grafana dashboards: their structure, their types against Grafana's own schema, and every query against a
real Prometheus that has scraped the demo.

Usage: .ci/dashboards.py [target/debug/aws-iot-command-exporter] [--only=structure,types,queries]

Needs Debian's package prometheus, node with npm, and nothing of Python but itself. Ends with 1 and every fault found.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).with_suffix("")))
sys.dont_write_bytecode = True

import queries  # noqa: E402
import structure  # noqa: E402
import types_of_grafana  # noqa: E402

STEPS = {"structure": structure.faults, "types": types_of_grafana.faults, "queries": queries.faults}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="target/debug/aws-iot-command-exporter")
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--grafana", type=pathlib.Path, default=pathlib.Path("deploy/grafana"))
    options = parser.parse_args()
    found = []
    for name in options.only.split(","):
        began = time.monotonic()
        faults = STEPS[name](options)
        print(f"{name}: {len(faults)} faults, {time.monotonic() - began:.1f} s", flush=True)
        found += [f"{name}: {fault}" for fault in faults]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
