"""Runs .ci/wire/check.py (the real boto3 and AWS CLI) against a simulator of the program.

Usage: python .ci/wire.py target/debug/aws-iot-command-exporter
"""

import subprocess
import sys

from simulation import simulate

with simulate(sys.argv[1]) as address:
    sys.exit(subprocess.run([sys.executable, ".ci/wire/check.py", address], timeout=600).returncode)
