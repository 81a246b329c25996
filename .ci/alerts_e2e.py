"""The whole way of an alert, with the real programs: the simulator with a fault, the exporter, Debian's Prometheus with
the rules of deploy/prometheus, Debian's Alertmanager with the configuration of deploy/alertmanager, and a webhook that
must get exactly the alerts that the fault deserves, with these labels, at this receiver, and then their resolution.

Usage: python3 .ci/alerts_e2e.py target/debug/aws-iot-command-exporter

Every fault has an AWS account of its own, so that all of them run at once and each must leave the others alone. Time is
made shorter by `shortened` and `sped_up`, which change lengths of time in the files and nothing else.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import urllib.error
import urllib.parse

from alerts_faults import REGION, Faults, labels, shown
from alerts_programs import BOUND, Program, Webhook, ask, eventually, free_port, scraping, shortened, sped_up
from simulation import environment, simulate

DEPLOY = pathlib.Path("deploy")
SETTLE = 6
"""Seconds in which what should not come would have come: `for`, group_wait and an evaluation."""


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
        # The faults are those of GetCommandExecution: listings would go on seeing what it does not.
        unlisted = {"kind": "error", "status": 400, "code": "ValidationException"}
        ask(f"{self.control}/faults", {"operation": "ListCommandExecutions", "effect": unlisted})
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
        self.nothing_but(what, wanted)

    def nothing_but(self, what, wanted):
        """None but these has fired so far, and each went where it belongs."""
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
    with timed("before any fault: nothing but what the configurations deserve"):
        time.sleep(SETTLE)
        bench.nothing_but("before any fault", standing)

    deserved = set().union(*(account.expected for account in bench.accounts))
    faults, alerts = len(bench.accounts) - 1, len(deserved) + 1 + len(standing)
    with timed(f"{faults} faults in accounts of their own, a broken reload, three bad configurations: {alerts} alerts"):
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
    here = {"region": REGION}
    elsewhere = ["us-east-1", "us-west-2", "sa-east-1"]
    reboot = {"command": "reboot"}
    cases = [
        (("SuccessBudgetBurn", "critical", "executions", reboot), [
            ("SuccessBudgetBurn", "warning", "executions", reboot),
        ]),
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
        for region, (alert, severity, component, more) in zip(elsewhere, targets):
            muted.add(labels(alert, severity, component, **here | account, **more))
            loud.add(labels(alert, severity, component, region=region, **account, **more))
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
