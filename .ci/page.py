"""Reads the golden pages and a live one with the tools that others use: promtool, and the parsers of prometheus_client
for both formats, which must agree with each other, as must clients on what is compressed.

Usage: python .ci/page.py target/debug/aws-iot-command-exporter
"""

import gzip
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from simulation import configuration, environment, fleet

GOLDEN = pathlib.Path("tests/golden/metrics.txt")
GOLDEN_OPENMETRICS = pathlib.Path("tests/golden/metrics.openmetrics.txt")
EXECUTIONS = 200
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"


def lint(name, text):
    """`promtool check metrics`, which prints what it finds and exits with 3."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    if done.returncode or done.stdout or done.stderr:
        raise SystemExit(f"promtool on {name}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return len(text.splitlines())


def get(url, **headers):
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return answer.headers["Content-Type"], body.decode()


def series(families):
    """The names and labels of every sample about executions: values move from one scrape to the next."""

    def labels(sample):
        # The formats write the bounds of buckets differently.
        bound = {"le": str(float(sample.labels["le"]))} if "le" in sample.labels else {}
        return frozenset((sample.labels | bound).items())

    samples = [sample for family in families for sample in family.samples]
    return {(item.name, labels(item)) for item in samples if item.name.startswith("aws_iot_command_execution")}


def address_of(process):
    for line in process.stderr:
        found = re.search(r'listening.*address="?([0-9.:]+)', line)
        if found:
            return f"http://{found[1]}"
    raise SystemExit("the exporter ended before it listened")


def unzip_with_every_client(url, expected):
    """Clients differ in what they read of a gzip member, and some read less than all without a word."""
    fetch = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", url]
    gunzipped = subprocess.run([*fetch, "--header", "Accept-Encoding: gzip"], capture_output=True, check=True).stdout
    if gunzipped[:2] != b"\x1f\x8b":
        raise SystemExit("curl asked for gzip and got something else")
    pages = {
        "curl --compressed": subprocess.run([*fetch, "--compressed"], capture_output=True, check=True).stdout,
        "zcat": subprocess.run(["zcat"], input=gunzipped, capture_output=True, check=True).stdout,
        "httpx": httpx.get(url, headers={"Accept-Encoding": "gzip"}, timeout=30, trust_env=False).content,
    }
    for client, page in pages.items():
        if series(parse_text(page.decode())) != expected:
            raise SystemExit(f"{client} reads other series from the compressed page")
    print(f"{', '.join(pages)} read the compressed page whole")


def live(program, folder):
    """The same page in both formats, plain and compressed, once every execution has been polled."""
    with fleet(program, EXECUTIONS) as (simulator, records):
        file = pathlib.Path(folder) / "exporter.yaml"
        file.write_text(configuration(records, []))
        log = ["--log.level=info", "--log.format=logfmt"]
        exporter = subprocess.Popen(
            [program, "run", f"--config.file={file}", "--web.listen-address=127.0.0.1:0", *log],
            env=environment(simulator),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            address = address_of(exporter)
            until = time.monotonic() + 60
            while True:
                kind, text = get(f"{address}/metrics")
                if text.count("\naws_iot_command_execution_terminal{") == EXECUTIONS:
                    break
                if time.monotonic() > until:
                    raise SystemExit("not every execution was polled within a minute")
                time.sleep(0.1)
            open_kind, open_text = get(f"{address}/metrics", Accept=OPENMETRICS)
            zipped = get(f"{address}/metrics", Accept_Encoding="gzip")
            unzip_with_every_client(f"{address}/metrics", series(parse_text(text)))
        finally:
            exporter.terminate()
            exporter.communicate(timeout=15)
        if exporter.returncode != 0:
            raise SystemExit(f"the exporter exits with {exporter.returncode} on SIGTERM")
    return kind, text, open_kind, open_text, zipped


def main(program):
    print(f"{GOLDEN}: {lint(GOLDEN, GOLDEN.read_text())} lines, promtool has nothing to say")
    golden, golden_open = series(parse_text(GOLDEN.read_text())), series(parse_openmetrics(GOLDEN_OPENMETRICS.read_text()))
    if golden != golden_open:
        raise SystemExit(f"the golden pages differ: {sorted(map(str, golden ^ golden_open))[:5]}")
    with tempfile.TemporaryDirectory() as folder:
        kind, text, open_kind, open_text, (zipped_kind, zipped) = live(program, folder)
    print(f"live: {lint('the live page', text)} lines, promtool has nothing to say")
    wrong = text.replace("# TYPE aws_iot_command_execution_terminal gauge", "# TYPE aws_iot_command_execution_terminal counter")
    try:
        lint("a broken page", wrong)
    except SystemExit:
        pass
    else:
        raise SystemExit("promtool does not see a broken page")
    plain = series(parse_text(text))
    if kind.replace(" ", "") != zipped_kind.replace(" ", "") or not kind.startswith("text/plain"):
        raise SystemExit(f"Content-Type: {kind}, {zipped_kind}")
    if plain != series(parse_text(zipped)):
        raise SystemExit("the compressed page has other series")
    if not open_kind.startswith("application/openmetrics-text"):
        raise SystemExit(f"OpenMetrics was asked for and {open_kind} came")
    open_series = series(parse_openmetrics(open_text))
    if plain != open_series:
        raise SystemExit(f"the formats differ: {sorted(map(str, plain ^ open_series))[:5]}")
    print(f"{len(plain)} series, the same in text, gzip and OpenMetrics")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
