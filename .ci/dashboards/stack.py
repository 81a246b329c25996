"""The demo and a Prometheus that scrapes it every few seconds, on loopback, for as long as a block lasts."""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

CONFIGURATION = """
global: {{ scrape_interval: {interval}s, scrape_timeout: {interval}s }}
scrape_configs:
  - job_name: aws-iot-command-exporter
    static_configs: [{{ targets: ["{address}"] }}]
"""


class Prometheus:
    """The part of its HTTP API that Grafana uses."""

    def __init__(self, url):
        self.url = url

    def ask(self, path, **parameters):
        """`data` of the answer; an error of the query becomes a ValueError with its text."""
        body = urllib.parse.urlencode(parameters, doseq=True).encode()
        get = path.startswith("label/") or path == "targets"
        url = f"{self.url}/api/v1/{path}" + (f"?{body.decode()}" if get else "")
        try:
            with urllib.request.urlopen(url, data=None if get else body, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", error)) from None

    def instant(self, expr, at):
        return self.ask("query", query=expr, time=at)["result"]

    def over(self, expr, start, end, step):
        return self.ask("query_range", query=expr, start=start, end=end, step=step)["result"]

    def last_scrape(self):
        """When the exporter was last scraped well: on a busy computer a scrape may fail now and then."""
        seen = self.instant("max_over_time(timestamp(up == 1)[1m:1s])", time.time())
        if not seen:
            raise SystemExit("no scrape of the demo succeeded in the last minute; see target/ci/dashboards-demo.log")
        return float(seen[0]["value"][1])

    def label_values(self, label, metric=None):
        return self.ask(f"label/{label}/values", **({"match[]": metric} if metric else {}))


class Demo:
    """The addresses of a running demo."""

    def __init__(self, exporter, simulator):
        self.exporter, self.simulator = exporter, simulator

    def fault(self, **fault):
        urllib.request.urlopen(f"{self.simulator}/_simulator/faults", data=json.dumps(fault).encode(), timeout=30).close()


@contextlib.contextmanager
def running(command, **more):
    process = subprocess.Popen(command, text=True, **more)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def demo(program, executions, speed, log):
    flags = [f"--executions={executions}", f"--speed={speed}", "--web.listen-address=127.0.0.1:0"]
    with running([program, "demo", *flags], stdout=subprocess.PIPE, stderr=log) as process:
        # A program that hangs before it listens is ended, and then has no more lines.
        watch = threading.Timer(60, process.kill)
        watch.start()
        urls = []
        for line in process.stdout:
            urls += re.findall(r"http://([0-9.:]+)/", line)
            if "/_simulator/" in line:
                break
        watch.cancel()
        if len(urls) < 2:
            raise SystemExit("the demo ended before it listened; see target/ci/dashboards-demo.log")
        yield Demo(urls[0], f"http://{urls[-1]}")


@contextlib.contextmanager
def scraped(program, executions, speed, interval=2):
    """Yields the demo, its Prometheus, and when it all began."""
    logs = pathlib.Path("target/ci")
    logs.mkdir(parents=True, exist_ok=True)
    if not shutil.which("prometheus"):
        raise SystemExit("needs Debian's package prometheus")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = stack.enter_context(
            demo(program, executions, speed, stack.enter_context(open(logs / "dashboards-demo.log", "w")))
        )
        (folder / "prometheus.yaml").write_text(CONFIGURATION.format(address=made.exporter, interval=interval))
        address = f"127.0.0.1:{_free_port()}"
        began = time.time()
        stack.enter_context(running(
            ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}", "--log.level=warn"],
            stderr=stack.enter_context(open(logs / "dashboards-prometheus.log", "w")),
        ))
        prometheus = Prometheus(f"http://{address}")
        _await_scrape(prometheus)
        yield made, prometheus, began


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_scrape(prometheus):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        # Its server answers a moment after its process has begun.
        with contextlib.suppress(urllib.error.URLError, ValueError):
            if prometheus.instant("up == 1", time.time()):
                return
        time.sleep(0.3)
    raise SystemExit("Prometheus has not scraped the demo within a minute; see target/ci/dashboards-prometheus.log")
