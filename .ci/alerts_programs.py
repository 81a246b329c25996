"""For the alerts' end-to-end check: the shortened files, the programs that run, and the webhook that listens."""

import http.server
import json
import re
import socket
import subprocess
import threading
import time
import urllib.request

BOUND = 100
"""Seconds that anything may take; half of it where the machine has nothing else to do."""
HOUR = 3600

UNITS = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}


def shortened(rules):
    """A rule file in which a minute takes a second. Windows become at least 5 s, for five scrapes, and at most 60 s,
    so that all ends within the run; `for` becomes at most 10 s; in expressions, lengths of time are N * 60 or
    N * 60 * 60 (s)."""

    def seconds(number, unit):
        return int(number) * UNITS[unit] // 60

    def window(found):
        return f"[{min(max(seconds(*found.groups()), 5), 60)}s]"

    def pause(found):
        return f"for: {min(max(seconds(*found.groups()), 1), 10)}s"

    def product(found):
        return str(int(found[1]) * (60 if found[2] else 1))

    rules = re.sub(r"\[(\d+)([smhd])\]", window, rules)
    rules = re.sub(r"\bfor: (\d+)([smhd])\b", pause, rules)
    return re.sub(r"\b(\d+) \* 60( \* 60)?\b", product, rules)


def sped_up(config, webhook):
    """Alertmanager's configuration with short waits, and the webhook in the gateway's place."""
    config = re.sub(r"group_wait: \w+", "group_wait: 4s", config)
    config = re.sub(r"group_interval: \w+", "group_interval: 2s", config)
    return config.replace("http://alert-gateway.example:9099", webhook)


def scraping(config, targets, alertmanager):
    """Prometheus's configuration with an interval of a second and the real addresses."""
    config = re.sub(r"_interval: \w+", "_interval: 1s", config)
    config = config.replace('["aws-iot-command-exporter:10477"]', json.dumps(targets))
    return config.replace('"alertmanager:9093"', json.dumps(alertmanager))




def ask(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    wanted = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(wanted, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


def eventually(what, check, bound=BOUND):
    """Waits until the check answers something true. A check that raises has not been met yet."""
    end = time.monotonic() + bound
    while True:
        try:
            seen = check()
        except (OSError, KeyError, ValueError) as fault:
            seen = None
            last = fault
        else:
            last = seen
        if seen:
            return seen
        if time.monotonic() > end:
            raise SystemExit(f"not within {bound} s: {what}; last: {last!r}")
        time.sleep(0.2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A child process whose output goes to a file, told on failure."""

    def __init__(self, folder, name, command, env=None):
        self.log = folder / f"{name}.log"
        self.command, self.env, self.process = command, env, None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)

    def alive(self):
        """Nothing here ends by itself."""
        if self.process is not None and self.process.poll() is not None:
            raise SystemExit(f"{self.log.stem} has ended with {self.process.returncode}")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Webhook:
    """Keeps what Alertmanager sends: by labels, at which receiver and in which state."""

    def __init__(self):
        self.fired = {}
        self.state = {}
        self.texts = {}
        self.lock = threading.Lock()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with hook.lock:
                    for alert in body["alerts"]:
                        hook.keep(self.path.strip("/"), alert)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            # Alertmanager sends every group at once; with the usual 5 it has to try again.
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keep(self, receiver, alert):
        labels = frozenset(alert["labels"].items())
        self.state[labels] = alert["status"]
        self.texts[labels] = alert["annotations"]
        if alert["status"] == "firing":
            self.fired.setdefault(labels, receiver)

    def arrived(self):
        with self.lock:
            return dict(self.fired)

    def states(self):
        with self.lock:
            return dict(self.state)
