"""Starts the program's own simulator, for the checks that need one."""

import contextlib
import json
import os
import subprocess
import urllib.request


def environment(address):
    """No one's credentials but the simulator's, and its address in place of AWS's."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return mine | {
        "AWS_ENDPOINT_URL_IOT": address,
        "AWS_ACCESS_KEY_ID": "AKIDSIMULATED",
        "AWS_SECRET_ACCESS_KEY": "simulated-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def configuration(records, reason_codes):
    """A configuration (JSON is YAML too) that names every one of these executions."""
    pairs = [{"target_arn": record["targetArn"], "execution_id": record["executionId"]} for record in records]
    limits = {"get_requests_per_second": 1000, "concurrency": 32}
    return json.dumps({"limits": limits, "metrics": {"reason_codes": reason_codes}, "executions": pairs}, indent=1)


@contextlib.contextmanager
def simulate(program, *flags):
    """Yields the address of a simulator, which ends with the block."""
    process = subprocess.Popen([program, "simulate", "--listen=127.0.0.1:0", *flags], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on http://"):
            raise SystemExit(f"simulate began with {line!r}")
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SystemExit("simulate does not end on SIGTERM") from None


@contextlib.contextmanager
def fleet(program, executions):
    """Yields the address of a simulator without quotas, its clock standing still, and its own record of every execution,
    which therefore stays true."""

    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{address}/_simulator/{path}", data=data, timeout=30) as answer:
            return json.load(answer)

    with simulate(program, f"--executions={executions}") as address:
        ask("quotas", {"get_command_execution": None, "list_command_executions": None})
        ask("clock", {"freeze": True})
        records = ask("executions")["executions"]
        if len(records) < executions:
            raise SystemExit(f"{len(records)} of {executions} executions exist")
        yield address, records
