"""Compares what `once` prints about a simulated fleet with the simulator's own record of every execution. The page is
read by prometheus_client, and what must be on it is worked out here, from the rules of AWS alone.

Usage: python .ci/once.py target/debug/aws-iot-command-exporter
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from prometheus_client.parser import text_string_to_metric_families

from simulation import configuration, environment, fleet

EXECUTIONS = 1_000
STATUSES = ["CREATED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "UNKNOWN"]
REASON_CODES = ["DEVICE_TOO_BUSY", "DISK_FULL"]
NO_RESPONSE = "$NO_RESPONSE_FROM_DEVICE"
PREFIX = "aws_iot_command_execution_"
# Families with this prefix that are about a command.
PER_COMMAND = ("completions", "timeouts_revised", "completion_duration_seconds")
TOLERANCE = 0.0015


def expected(record, before, after):
    """(name, labels) and (least, most) for every series of one execution."""
    _, _, _, region, account, resource = record["targetArn"].split(":", 5)
    identity = {
        "account_id": account,
        "region": region,
        "target": resource,
        "execution_id": record["executionId"],
    }
    data = identity | {"command": record["commandArn"].partition(":command/")[2]}
    status, completed = record["status"], record.get("completedAt")
    created, timeout = record["createdAt"], record["executionTimeoutSeconds"]
    deadline = created + timeout
    terminal = status in ("SUCCEEDED", "FAILED", "REJECTED") or (status == "TIMED_OUT" and completed is not None)
    ended = completed
    if ended is None and status == "TIMED_OUT":
        ended = record.get("lastUpdatedAt", deadline)
    first, last = (before, after) if ended is None else (ended, ended)

    def row(name, labels, least, most=None):
        return (PREFIX + name, frozenset(labels.items())), (least, least if most is None else most)

    yield row("poll_success", identity, 1)
    yield row("last_success_timestamp_seconds", identity, before, after)
    yield row("info", data | {"target_arn": record["targetArn"], "command_arn": record["commandArn"]}, 1)
    for name in STATUSES:
        yield row("status", data | {"status": name}, int(name == status))
    yield row("terminal", data, int(terminal))
    code = record.get("statusReason", {}).get("reasonCode")
    if code:
        shown = code if code in REASON_CODES or code == NO_RESPONSE else "other"
        yield row("status_reason", data | {"origin": "service" if code[0] == "$" else "device", "code": shown}, 1)
    for name, member in {
        "created": created,
        "started": record.get("startedAt"),
        "last_updated": record.get("lastUpdatedAt"),
        "completed": completed,
        "deadline": deadline,
        "expiration": record.get("timeToLive"),
    }.items():
        if member is not None:
            yield row(f"{name}_timestamp_seconds", data, member)
    yield row("timeout_seconds", data, timeout)
    yield row("duration_seconds", data, first - created, last - created)
    yield row("timeout_margin_seconds", data, deadline - last, deadline - first)


def compare(text, wanted):
    """Every way in which the page differs from what is wanted."""
    found = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX) or family.name.removeprefix(PREFIX) in PER_COMMAND:
            continue
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            if key in found:
                yield f"twice: {key}"
            found[key] = sample.value
    for key in wanted.keys() - found.keys():
        yield f"missing: {key}"
    for key in found.keys() - wanted.keys():
        yield f"surplus: {key}"
    for key in wanted.keys() & found.keys():
        least, most = wanted[key]
        if not least - TOLERANCE <= found[key] <= most + TOLERANCE:
            yield f"{found[key]} is not in {least}..{most}: {key}"


def main(program):
    with fleet(program, EXECUTIONS) as (address, records), tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "exporter.yaml"
        file.write_text(configuration(records, REASON_CODES))
        before = time.time()
        once = subprocess.run(
            [program, "once", f"--config.file={file}"],
            env=environment(address),
            capture_output=True,
            text=True,
            timeout=120,
        )
        after = time.time()
    if once.returncode != 0:
        print(once.stderr, file=sys.stderr)
        return f"once exits with {once.returncode}"
    wanted = dict(row for record in records for row in expected(record, before, after))
    faults = list(compare(once.stdout, wanted))
    for fault in faults[:10]:
        print(fault, file=sys.stderr)
    if faults:
        return f"{len(faults)} of {len(wanted)} series differ from the record"
    # A comparison that sees no difference on another page either has compared nothing.
    if not list(compare(once.stdout.replace('status="FAILED"} 1', 'status="FAILED"} 0', 1), wanted)):
        return "the comparison does not see a changed value"
    kinds = {}
    for record in records:
        kinds[record["status"]] = kinds.get(record["status"], 0) + 1
    print(f"{len(records)} executions, {len(wanted)} series equal the record; {json.dumps(kinds)}; {after - before:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
