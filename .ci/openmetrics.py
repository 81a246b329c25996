"""Reads OpenMetrics text from standard input with prometheus_client's parser, which is strict about the format, and
says what it holds. Fails if the text is not valid, or if one of the families named as arguments is missing."""

import sys

from prometheus_client.openmetrics.parser import text_fd_to_metric_families

families = {family.name: family for family in text_fd_to_metric_families(sys.stdin)}
missing = [name for name in sys.argv[1:] if name not in families]
if missing:
    sys.exit(f"families missing: {', '.join(missing)}")
for family in families.values():
    if family.name.endswith("_seconds") != (family.unit == "seconds"):
        sys.exit(f"{family.name} has the unit {family.unit!r}")
kinds = sorted({family.type for family in families.values()})
samples = sum(len(family.samples) for family in families.values())
print(f"OpenMetrics: {len(families)} families ({', '.join(kinds)}), {samples} samples")
