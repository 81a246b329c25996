"""The whole way of an alert, with the real programs: the simulator with a fault, the exporter, Debian's Prometheus with
the rules of deploy/prometheus, Debian's Alertmanager with the configuration of deploy/alertmanager, and a webhook that
must get exactly the alerts that the fault deserves, with these labels, at this receiver, and then their resolution.

Usage: python3 .ci/alerts_e2e.py target/debug/aws-iot-command-exporter

Every fault has an AWS account of its own, so that all of them run at once and each must leave the others alone. Time is
made shorter by `shortened` and `sped_up`, which change lengths of time in the files and nothing else.
"""

import collections
import contextlib
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from simulation import environment, simulate

DEPLOY = pathlib.Path("deploy")
REGION = "eu-central-1"
BOUND = 100
"""Seconds that anything may take; half of it where the machine has nothing else to do."""
SETTLE = 6
"""Seconds in which what should not come would have come: `for`, group_wait and an evaluation, twice."""
HOUR = 3600

# ---------------------------------------------------------------------------------------------- shortened files

UNITS = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}


def shortened(rules):
    """A rule file in which a minute takes a second. Windows become at least 5 s, for five scrapes, and at most 60 s, so
    that all ends within the run; `for` becomes at most 10 s; lengths of time in expressions are N * 60 or N * 60 * 60."""

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


# ---------------------------------------------------------------------------------------------------- programs


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


# ------------------------------------------------------------------------------------------------------- faults


def labels(alert, severity, component, **more):
    return frozenset({"alertname": f"AwsIotCommand{alert}", "severity": severity, "component": component, **more}.items())


class Account:
    """One account of the simulated AWS: its executions, its fault, and what must come of it."""

    def __init__(self, number, about, executions=3):
        self.id = f"1{number:011}"
        self.about = about
        self.count = executions
        self.expected = set()
        self.muted = set()
        self.break_it = self.mend_it = lambda: None

    def arn(self, what):
        return f"arn:aws:iot:{REGION}:{self.id}:{what}"

    def pair(self, number):
        return {"target_arn": self.arn(f"thing/pump-{number}"), "execution_id": f"execution-{number}"}

    def pairs(self):
        return [self.pair(number) for number in range(self.count)]

    def record(self, number, status, *, age=0, timeout=24 * HOUR, updated=None, completed=None):
        """An execution as AWS describes it, created `age` seconds ago; `updated` and `completed` are ago too."""
        now = time.time()
        record = {
            "targetArn": self.arn(f"thing/pump-{number}"),
            "executionId": f"execution-{number}",
            "commandArn": self.arn("command/reboot"),
            "status": status,
            "executionTimeoutSeconds": timeout,
            "createdAt": round(now - age, 3),
            "lastUpdatedAt": round(now - (age if updated is None else updated), 3),
        }
        if completed is not None:
            record["completedAt"] = round(now - completed, 3)
        return record

    def healthy(self, number):
        """In progress, with an update that stays young during the whole run."""
        return self.record(number, "IN_PROGRESS", updated=-HOUR)

    def executions(self, alert, severity="warning", **more):
        place = {"account_id": self.id, "region": REGION, "command": "reboot"}
        self.expected.add(labels(alert, severity, "executions", **place, **more))

    def exporter(self, alert, severity="warning"):
        self.expected.add(self.of_exporter(alert, severity))
        return self

    def muting(self, *alerts):
        """These fire too, and are muted as long as the fault lasts. What mutes them may end a moment before they do."""
        self.muted |= {self.of_exporter(alert, "critical" if alert == "Blind" else "warning") for alert in alerts}

    def of_exporter(self, alert, severity):
        return labels(f"Exporter{alert}", severity, "exporter", account_id=self.id, region=REGION)


class Faults:
    """Makes the accounts, each with its fault. `simulator` is the control path's address."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.accounts = []

    def put(self, record):
        ask(f"{self.simulator}/executions", record)

    def remove(self, record):
        ask(f"{self.simulator}/executions", record, "DELETE")

    def account(self, about, executions=3):
        self.accounts.append(Account(len(self.accounts) + 1, about, executions))
        return self.accounts[-1]

    def refusing(self, about, executions, effect, **more):
        """Calls for this account go wrong so. The faults of all accounts are switched off together."""
        account = self.account(about, executions)
        wanted = {"operation": "GetCommandExecution", "account": account.id, "effect": effect, **more}
        account.break_it = lambda: ask(f"{self.simulator}/faults", wanted)
        return account

    def turning(self, about, executions, **record):
        """All executions of this account turn into such ones."""
        account = self.account(about, executions)

        def turn():
            for number in range(executions):
                self.put(account.record(number, **record))

        def back():
            for number in range(executions):
                self.put(account.healthy(number))

        account.break_it, account.mend_it = turn, back
        return account

    def all(self):
        denied = {"kind": "error", "status": 403, "code": "AccessDeniedException"}
        expired = {"kind": "error", "status": 403, "code": "ExpiredTokenException"}
        self.account("nothing is wrong")
        self.refusing("every fifth call is throttled", 10, {"kind": "throttle"}, probability=0.2).exporter("Throttled")
        account = self.refusing("every call is denied", 5, denied)
        account.exporter("Unauthorised", "critical").muting("Unauthorised", "Blind", "Stale")
        account = self.account("calls for one device are denied", 5)
        account.exporter("Unauthorised").muting("Stale")
        target = {"operation": "GetCommandExecution", "target": account.arn("thing/pump-0"), "effect": denied}
        account.break_it = lambda: ask(f"{self.simulator}/faults", target)
        account = self.refusing("the token has expired", 5, expired)
        account.exporter("CredentialsInvalid", "critical").muting("Blind", "Stale")
        self.refusing("calls hang", 6, {"kind": "hang"}).exporter("Blind", "critical").muting("Stale")
        account = self.account("calls for one device hang")
        account.exporter("Stale")
        hang = {"operation": "GetCommandExecution", "target": account.arn("thing/pump-0"), "effect": {"kind": "hang"}}
        account.break_it = lambda hang=hang: ask(f"{self.simulator}/faults", hang)
        self.vanishing().executions("ExecutionVanished")
        self.turning("not picked up", 2, status="CREATED", age=60).executions("NotPickedUp")
        self.turning("no progress", 2, status="IN_PROGRESS", age=600, updated=300).executions("NoProgress")
        near = {"status": "IN_PROGRESS", "timeout": HOUR, "updated": -HOUR}
        self.turning("near the deadline", 2, age=3300, **near).executions("DeadlineNear")
        account = self.turning("seconds before the deadline", 2, age=3597, **near)
        account.executions("DeadlineNear")
        account.executions("DeadlineImminent")
        account = self.turning("all fail", 25, status="FAILED", completed=0)
        account.executions("Failures", status="FAILED")
        account.executions("FailureRatio")
        account.executions("SuccessBudgetBurn", "critical")
        account = self.turning("a few are rejected", 6, status="REJECTED", completed=0)
        account.executions("Failures", status="REJECTED")
        self.timing_out().executions("ServiceTimeouts")
        self.turning("the device gives up", 2, status="TIMED_OUT", completed=0).executions("DeviceTimeouts")
        self.turning("finished late", 2, status="SUCCEEDED", age=60, timeout=30, completed=1).executions("FinishedLate")
        return self.accounts

    def vanishing(self):
        account = self.account("the service forgets one")
        account.break_it = lambda: self.remove(account.record(0, "CREATED"))
        account.mend_it = lambda: self.put(account.healthy(0))
        return account

    def timing_out(self):
        """The service times some out while others of the same command are near their deadline, which that mutes."""
        account = self.account("the service times out", 4)

        def break_it():
            for number in range(4):
                late = self.record_of_timed_out(account, number)
                soon = account.record(number, "IN_PROGRESS", age=3300, timeout=HOUR, updated=-HOUR)
                self.put(late if number < 2 else soon)

        account.break_it = break_it
        account.mend_it = lambda: [self.put(account.healthy(number)) for number in range(4)]
        return account

    @staticmethod
    def record_of_timed_out(account, number):
        record = account.record(number, "TIMED_OUT", age=11, timeout=10, updated=1)
        return record | {"statusReason": {"reasonCode": "$NO_RESPONSE_FROM_DEVICE"}}


# ----------------------------------------------------------------------------------------------------- the run


class Bench:
    """Everything started, on ports of its own."""

    def __init__(self, program, folder, simulator):
        self.folder = folder
        self.control = f"{simulator}/_simulator"
        self.webhook = Webhook()
        self.faults = Faults(self.control)
        self.accounts = list(self.faults.all())
        self.small = self.faults.account("a limit of two calls a second and a cap of ten executions", 11)
        self.missing = self.faults.account("an execution that never existed", 1)
        self.env = environment(simulator) | {"AWS_REGION": REGION}
        self.main_config, self.small_config = folder / "exporter.yaml", folder / "small.yaml"
        self.ports = {name: free_port() for name in ("main", "small", "prometheus", "alertmanager")}
        self.programs = {}
        for name, config in (("main", self.main_config), ("small", self.small_config)):
            command = [program, "run", f"--config.file={config}", "--web.enable-lifecycle", "--log.level=warn"]
            command.append(f"--web.listen-address={self.address(name)}")
            self.programs[name] = Program(folder, name, command, self.env)
        self.programs["alertmanager"] = Program(
            folder,
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/alertmanager",
                f"--web.listen-address={self.address('alertmanager')}",
                "--cluster.listen-address=",
            ],
        )
        self.programs["prometheus"] = Program(
            folder,
            "prometheus",
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address={self.address('prometheus')}",
                "--rules.alert.resend-delay=2s",
                "--log.level=warn",
            ],
        )

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def write_files(self):
        rules = self.folder / "rules"
        rules.mkdir()
        for file in sorted((DEPLOY / "prometheus/rules").glob("*.yaml")):
            (rules / file.name).write_text(shortened(file.read_text()))
        config = (DEPLOY / "prometheus/prometheus.yml").read_text()
        targets = [self.address("main"), self.address("small")]
        (self.folder / "prometheus.yml").write_text(scraping(config, targets, self.address("alertmanager")))
        config = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
        (self.folder / "alertmanager.yml").write_text(sped_up(config, self.webhook.address))
        self.main_config.write_text(self.main_configuration())
        self.small_config.write_text(self.small_configuration(2, 10))

    def main_configuration(self):
        pairs = [pair for account in [*self.accounts, self.missing] for pair in account.pairs()]
        return configuration({"get_requests_per_second": 1000, "concurrency": 64}, pairs)

    def small_configuration(self, rate, cap):
        return configuration({"get_requests_per_second": rate, "executions": cap}, self.small.pairs())

    def start(self):
        ask(f"{self.control}/quotas", {"get_command_execution": None, "list_command_executions": None})
        for account in [*self.accounts, self.small]:
            for number in range(account.count):
                self.faults.put(account.healthy(number))
        self.write_files()
        for program in self.programs.values():
            program.start()
        for name in ("main", "small"):
            eventually(f"{name} is ready", lambda name=name: self.ready(name))
        eventually("both are scraped", lambda: self.query("sum(up)") == 2)

    def explain(self):
        """After a failure: what Prometheus and Alertmanager themselves think is going on."""
        with contextlib.suppress(OSError, KeyError):
            for alert in ask(f"http://{self.address('prometheus')}/api/v1/alerts")["data"]["alerts"]:
                print(alert["state"], shown(alert["labels"].items()), alert["activeAt"], file=sys.stderr)
            for alert in ask(f"http://{self.address('alertmanager')}/api/v2/alerts"):
                print("at Alertmanager", shown(alert["labels"].items()), alert["status"], file=sys.stderr)

    def stop(self):
        for program in self.programs.values():
            program.stop()
        self.webhook.server.shutdown()

    def ready(self, name):
        self.programs[name].alive()
        return ask(f"http://{self.address(name)}/-/ready")

    def instant(self, query):
        text = urllib.parse.urlencode({"query": query})
        return ask(f"http://{self.address('prometheus')}/api/v1/query?{text}")["data"]["result"]

    def query(self, query):
        [sample] = self.instant(query)
        return float(sample["value"][1])

    def reload(self, name, text, taken=True):
        config = self.main_config if name == "main" else self.small_config
        config.write_text(text)
        try:
            ask(f"http://{self.address(name)}/-/reload", {}, "POST")
            accepted = True
        except urllib.error.HTTPError:
            accepted = False
        if accepted != taken:
            raise SystemExit(f"reload of {name}: accepted is {accepted}")

    # ------------------------------------------------------------------------------------------------ steps

    def expect(self, what, wanted):
        """Exactly these alerts have fired so far, at their receivers, and still nothing else a while later."""

        def missing():
            return sorted(map(shown, wanted - self.webhook.arrived().keys()))

        end = time.monotonic() + BOUND
        while missing():
            if time.monotonic() > end:
                raise SystemExit(f"{what}: missing {missing()}")
            time.sleep(0.2)
        time.sleep(SETTLE)
        arrived = self.webhook.arrived()
        surplus = sorted(map(shown, arrived.keys() - wanted))
        if surplus:
            raise SystemExit(f"{what}: should not have come: {surplus}")
        for alert, receiver in arrived.items():
            told = dict(alert)
            right = f"{told['component']}-{'pager' if told['severity'] == 'critical' else 'tickets'}"
            if receiver != right:
                raise SystemExit(f"{shown(alert)} went to {receiver}")

    def resolved(self, what, wanted):
        """All of these have been resolved, and are what was firing."""

        def open_ones():
            states = self.webhook.states()
            return sorted(shown(alert) for alert in wanted if states[alert] != "resolved")

        end = time.monotonic() + BOUND
        while open_ones():
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not resolved: {open_ones()}")
            time.sleep(0.2)

    def descriptions(self, wanted):
        """The queries in the descriptions of what fires find something. Answers how many were tried."""
        tried = 0
        for alert in wanted:
            text = self.webhook.texts[alert]["description"]
            found = re.search(r"`(.+?)`", text)
            if "{{" in text or "<no value>" in text or found is None:
                raise SystemExit(f"{shown(alert)}: {text}")
            if self.webhook.states()[alert] == "firing":
                if not self.instant(found[1]):
                    raise SystemExit(f"{shown(alert)}: nothing is found by {found[1]}")
                tried += 1
        return tried


def configuration(limits, pairs):
    poll = {"interval": "1s", "timeout": "1s", "max_staleness": "10s"}
    return json.dumps({"poll": poll, "limits": limits, "executions": pairs})


def shown(alert):
    told = dict(alert)
    rest = ", ".join(f"{key}={value}" for key, value in sorted(told.items()) if key not in ("alertname", "component"))
    return f"{told['alertname']}({rest})"


def of_instance(bench, name, alert, severity="warning"):
    job = {"job": "aws-iot-command-exporter", "instance": bench.address(name)}
    return labels(f"Exporter{alert}", severity, "exporter", **job)


@contextlib.contextmanager
def timed(what):
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)


def run(bench):
    with timed("everything started"):
        bench.start()
    bench.small.exporter("QuotaTooSmall")
    bench.missing.exporter("NotFound")
    standing = bench.small.expected | bench.missing.expected | {of_instance(bench, "small", "CapReached")}
    with timed(f"before any fault: {len(standing)} alerts that the configurations deserve"):
        bench.expect("before any fault", standing)

    deserved = set().union(*(account.expected for account in bench.accounts))
    with timed(f"{len(bench.accounts) - 1} faults in accounts of their own and a broken reload: {len(deserved) + 1} alerts"):
        for account in bench.accounts:
            account.break_it()
        bench.reload("main", "poll: [", taken=False)
        deserved.add(of_instance(bench, "main", "ReloadFailed"))
        bench.expect("faults", standing | deserved)
    firing_and_muted(bench)
    tried = bench.descriptions(standing | deserved)
    print(f"           {tried} queries out of descriptions find what they are about")
    with timed("all of it mended, all of it resolved"):
        ask(f"{bench.control}/faults", method="DELETE")
        for account in bench.accounts:
            account.mend_it()
        bench.faults.put(bench.missing.healthy(0))
        bench.reload("main", bench.main_configuration())
        bench.reload("small", bench.small_configuration(1000, 100))
        bench.resolved("mended", standing | deserved)
        muted = set().union(*(account.muted for account in bench.accounts)) & bench.webhook.arrived().keys()
        bench.resolved("muted until mended", muted)

    seen = standing | deserved | muted
    down = of_instance(bench, "small", "Down", "critical")
    with timed("one of two exporters killed: AwsIotCommandExporterDown"):
        bench.programs["small"].stop()
        bench.expect("one down", seen | {down})
    with timed("both killed: AwsIotCommandExporterAbsent"):
        absent = labels("ExporterAbsent", "critical", "exporter")
        bench.programs["main"].stop()
        bench.expect("both down", seen | {down, absent})
    with timed("both back: resolved"):
        bench.programs["small"].start()
        bench.programs["main"].start()
        bench.resolved("both back", {down, absent})
    with timed("inhibition, alert by alert"):
        inhibition(bench)


def firing_and_muted(bench):
    """What is to be muted does fire in Prometheus: else nothing would be proven."""
    alerts = ask(f"http://{bench.address('prometheus')}/api/v1/alerts")["data"]["alerts"]
    firing = {frozenset(alert["labels"].items()) for alert in alerts if alert["state"] == "firing"}
    for account in bench.accounts:
        quiet = account.muted - firing
        if quiet:
            raise SystemExit(f"{account.about}: does not fire at all: {sorted(map(shown, quiet))}")


def inhibition(bench):
    """Sent to Alertmanager by hand: each source, then what it mutes here, and the same elsewhere, which it must not."""
    here = {"account_id": "200000000000", "region": REGION}
    there = {"account_id": "200000000000", "region": "us-east-1"}
    reboot = {"command": "reboot"}
    cases = [
        (("SuccessBudgetBurn", "critical", "executions", reboot), [("SuccessBudgetBurn", "warning", "executions", reboot)]),
        (("ServiceTimeouts", "warning", "executions", reboot), [
            ("DeadlineNear", "warning", "executions", reboot),
            ("DeadlineImminent", "warning", "executions", reboot),
        ]),
        (("ExporterUnauthorised", "warning", "exporter", {}), [
            ("ExporterStale", "warning", "exporter", {}),
            ("ExporterThrottled", "warning", "exporter", {}),
        ]),
        (("ExporterUnauthorised", "critical", "exporter", {}), [
            ("ExporterUnauthorised", "warning", "exporter", {}),
            ("ExporterBlind", "critical", "exporter", {}),
        ]),
        (("ExporterCredentialsInvalid", "critical", "exporter", {}), [
            ("ExporterStale", "warning", "exporter", {}),
            ("ExporterThrottled", "warning", "exporter", {}),
            ("ExporterBlind", "critical", "exporter", {}),
        ]),
        (("ExporterBlind", "critical", "exporter", {}), [("ExporterStale", "warning", "exporter", {})]),
    ]
    sources, muted, loud = set(), set(), set()
    for number, (source, targets) in enumerate(cases):
        account = {"account_id": f"2{number:011}"}
        alert, severity, component, more = source
        sources.add(labels(alert, severity, component, **here | account, **more))
        for alert, severity, component, more in targets:
            muted.add(labels(alert, severity, component, **here | account, **more))
            loud.add(labels(alert, severity, component, **there | account, **more))
    # Of the same place, but not explained by it.
    few = {"account_id": "200000000099"}
    sources.add(labels("ExporterUnauthorised", "warning", "exporter", **here | few))
    loud.add(labels("ExporterBlind", "critical", "exporter", **here | few))
    sources.add(labels("ServiceTimeouts", "warning", "executions", **here | few, command="reboot"))
    loud.add(labels("DeadlineNear", "warning", "executions", **here | few, command="update"))
    before = set(bench.webhook.arrived())
    send(bench, sources)
    bench.expect("sources of inhibition", before | sources)
    send(bench, muted | loud)
    bench.expect("targets of inhibition", before | sources | loud)
    # Last, since it mutes all executions' alerts wherever they are.
    absent = labels("ExporterAbsent", "critical", "exporter", by="hand")
    send(bench, {absent})
    bench.expect("absent", before | sources | loud | {absent})
    place = here | {"account_id": "200000000098"}
    all_muted = {labels(alert, "warning", "executions", **place, **reboot) for alert in ("NotPickedUp", "Failures")}
    other = labels("ExporterStale", "warning", "exporter", **place)
    send(bench, all_muted | {other})
    bench.expect("what absent mutes", before | sources | loud | {absent, other})
    print(f"           {len(muted | all_muted)} muted, {len(loud) + 1} of other places or causes not")


def send(bench, alerts):
    body = [{"labels": dict(alert), "annotations": {"description": "by hand"}} for alert in alerts]
    ask(f"http://{bench.address('alertmanager')}/api/v2/alerts", body)


def main(program):
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, simulate(program, "--executions=1", "--log.level=warn") as simulator:
        bench = Bench(program, pathlib.Path(folder), simulator)
        try:
            run(bench)
        except BaseException:
            bench.explain()
            for process in bench.programs.values():
                if process.log.exists():
                    lines = process.log.read_text(errors="replace").splitlines()[-15:]
                    print(f"--- {process.log.name}", *lines, sep="\n", file=sys.stderr)
            raise
        finally:
            bench.stop()
    count = collections.Counter(bench.webhook.state.values())
    print(f"{time.monotonic() - began:6.1f} s  in all; the webhook got {sum(count.values())} different alerts")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(os.path.abspath(sys.argv[1]))
