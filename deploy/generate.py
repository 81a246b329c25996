#!/usr/bin/env python3
"""Copies the rules of deploy/prometheus/rules, their one source, to where the operator's resource and the chart need
them. With --check it changes nothing, and exits with 1 if a copy is not what it would write.

Usage: deploy/generate.py [--check]      (needs PyYAML)
"""

import pathlib
import sys

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent
SOURCE = DEPLOY / "prometheus/rules"
RESOURCE = DEPLOY / "kubernetes/components/prometheus-operator/prometheus-rule.yaml"
CHART = DEPLOY / "helm/aws-iot-command-exporter/rules"
LABELS = {
    "app.kubernetes.io/name": "aws-iot-command-exporter",
    "app.kubernetes.io/instance": "aws-iot-command-exporter",
}


class Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, lists indented: as a person would write it."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)


def _text(dumper, text):
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def resource(sources):
    """The PrometheusRule that holds the groups of all files, in the order of the files' names."""
    groups = [group for text in sources.values() for group in yaml.safe_load(text)["groups"]]
    names = [group["name"] for group in groups]
    if len(set(names)) != len(names):
        raise SystemExit(f"a group's name is there twice: {sorted(names)}")
    item = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "aws-iot-command-exporter", "labels": LABELS},
        "spec": {"groups": groups},
    }
    head = "# Made from deploy/prometheus/rules by deploy/generate.py: change it there.\n"
    return head + yaml.dump(item, Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True)


def wanted():
    """Every file to write, with its text."""
    sources = {file.name: file.read_text() for file in sorted(SOURCE.glob("*.y*ml"))}
    if not sources:
        raise SystemExit(f"no rules in {SOURCE}")
    return {RESOURCE: resource(sources)} | {CHART / name: text for name, text in sources.items()}


def main(check):
    files = wanted()
    stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    extra = [file for file in CHART.glob("*") if file not in files]
    for file in [*stale, *extra]:
        print(f"{file.relative_to(DEPLOY)}: {'not what deploy/generate.py writes' if check else 'written or removed'}")
    if check:
        return 1 if stale or extra else 0
    for file in extra:
        file.unlink()
    for file in stale:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files[file])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--check"]))
