"""Starts the program's own simulator, for the checks that need one."""

import contextlib
import os
import subprocess


def environment(address):
    """No one's credentials but the simulator's, and its address in place of AWS's."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return mine | {
        "AWS_ENDPOINT_URL_IOT": address,
        "AWS_ACCESS_KEY_ID": "AKIDSIMULATED",
        "AWS_SECRET_ACCESS_KEY": "simulated-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def simulate(program, *flags):
    """Yields the address of a simulator, which ends with the block."""
    process = subprocess.Popen([program, "simulate", *flags], stdout=subprocess.PIPE, text=True)
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
