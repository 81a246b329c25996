"""Every query of every panel, variable and annotation against a Prometheus that has scraped the demo for a minute.

Each must parse and give a finite value. Those that a healthy demo rightly leaves empty are named in EMPTY: they must be
empty at first, and give something once calls are throttled. Choosing every value of a variable one by one must give the
same series as All, which proves the escaping of odd names.
"""

import math
import time

import model
import stack

SECONDS = 60
EXECUTIONS, SPEED = 300, 20
STEP = 5
# Panels that rightly show nothing while nothing is wrong, with the reason; a throttled demo fills them.
EMPTY = {
    ("fleet.json", "Polls failing"): "no poll fails",
    ("fleet.json", "Why polls fail"): "no poll fails",
    ("exporter.json", "Why polls fail"): "no poll fails",
    ("exporter.json", "Throttled"): "nothing is throttled",
    ("execution.json", "Health of its polls", "B"): "no poll fails",
}
THROTTLED = {"probability": 0.5, "effect": {"kind": "throttle"}}
OTHERWISE_ZERO = "or vector(0)"
# The shortest of those offered: the demo's executions live twenty times faster.
LIMITS = {"not_picked_up": ["60"], "silent": ["60"]}


def faults(options):
    boards = model.load(options.grafana)
    with stack.scraped(options.program, EXECUTIONS, SPEED) as (demo, prometheus, began):
        time.sleep(max(0.0, began + SECONDS - time.time()))
        run = Run(prometheus, began)
        found = []
        for name, board in boards.items():
            found += [f"{name}: {fault}" for fault in run.board(name, board)]
        for name in ("command.json", "exporter.json", "fleet.json"):
            if name in boards:
                found += [f"{name}: {fault}" for fault in run.one_by_one(boards[name])]
        found += run.odd_targets(boards["execution.json"])
        print(f"  {run.asked} queries on a healthy demo")
        demo.fault(**THROTTLED)
        found += _throttled(run, boards)
    return found


def _throttled(run, boards):
    """What was empty must not stay so. Waits until it is filled, and no longer than half a minute."""
    until = time.monotonic() + 30
    while True:
        time.sleep(2)
        run.now = run.prometheus.last_scrape()
        left = {
            key: why for key, why in EMPTY.items()
            if not any(run.filled(boards[key[0]], target, run.throttled_choices(key[0]))
                       for target in _targets(boards[key[0]], *key[1:]))
        }
        if not left or time.monotonic() > until:
            print(f"  {len(EMPTY) - len(left)} of the {len(EMPTY)} rightly empty ones are filled by throttling")
            return [f"{key[0]}: {key[1]!r} shows nothing under throttling" for key in left]


def _targets(board, title, letter=None):
    return [
        target for panel in model.panels(board) if panel["title"] == title
        for target in panel["targets"] if letter in (None, target["refId"])
    ]


def _finite(result):
    return [
        series for series in result
        if any(math.isfinite(float(value)) for _, value in series.get("values") or [series["value"]])
    ]


def _names(result):
    return {frozenset(series["metric"].items()) for series in result}


class Run:
    """One moment of one Prometheus: all is asked as of `now`."""

    def __init__(self, prometheus, began):
        self.prometheus, self.began, self.now = prometheus, began, prometheus.last_scrape()
        self.asked = 0

    def board(self, name, board):
        choices = self._choices(name)
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield from self._checked(
                    f"variable {variable['name']}", variable["query"]["query"], False,
                    lambda variable=variable: self._label_values(board, variable, choices[0]),
                )
        for annotation in model.annotations(board):
            moments = annotation | {"instant": False}
            yield from self._checked(
                f"annotation {annotation['name']!r}", annotation["expr"], False,
                lambda moments=moments: self._any_filled(board, moments, choices),
            )
        for panel in model.panels(board):
            for target in panel["targets"]:
                rightly = {(name, panel["title"]), (name, panel["title"], target["refId"])} & EMPTY.keys()
                yield from self._checked(
                    f"panel {panel['title']!r} {target['refId']}", target["expr"], rightly,
                    lambda target=target: self._any_filled(board, target, choices),
                )

    def _checked(self, where, expr, rightly_empty, filled):
        try:
            has_values = filled()
        except ValueError as error:
            yield f"{where}: {error} in {expr}"
            return
        if has_values and rightly_empty:
            yield f"{where} is said to be rightly empty, and is not"
        if not has_values and not rightly_empty:
            yield f"{where} gives nothing: {expr}"

    def filled(self, board, target, choices):
        """Whether the query gives a finite value. One that falls back to zero must do so without its fallback, at some
        time since the beginning."""
        expr = model.substituted(target["expr"], board, LIMITS | choices)
        self.asked += 1
        if expr.endswith(OTHERWISE_ZERO):
            self.prometheus.instant(expr, self.now)
            return bool(_finite(self.prometheus.over(expr.removesuffix(OTHERWISE_ZERO), self.began, self.now, 1)))
        if target["instant"]:
            return bool(_finite(self.prometheus.instant(expr, self.now)))
        return bool(_finite(self.prometheus.over(expr, self.now - SECONDS, self.now, STEP)))

    def one_by_one(self, board):
        """Every value chosen singly gives the same series as All."""
        several = {
            variable["name"]: self._label_values(board, variable, {})
            for variable in board["templating"]["list"] if variable.get("multi") and variable["type"] == "query"
        }
        for panel in model.panels(board):
            for target in panel["targets"]:
                if "topk" in target["expr"]:
                    continue  # Which of several equals it keeps is chance.
                self.asked += 2
                try:
                    whole, parts = (
                        self.prometheus.instant(model.substituted(target["expr"], board, LIMITS | choice), self.now)
                        for choice in ({}, several)
                    )
                except ValueError as error:
                    yield f"panel {panel['title']!r}, with every value chosen: {error}"
                    continue
                if _names(whole) != _names(parts):
                    yield f"panel {panel['title']!r}: All has {len(whole)} series, all one by one {len(parts)}"

    def odd_targets(self, board):
        """Targets with quotes, backslashes, regular expressions' own signs and other scripts can be chosen."""
        metric = "aws_iot_command_execution_poll_success"
        odd, found = {}, []
        for series in self.prometheus.instant(metric, self.now):
            target = series["metric"]["target"]
            for sign in set('"\\+#$()[]{}|^*? ') | {"ö"}:
                if sign in target:
                    odd.setdefault(sign, (target, series["metric"]["execution_id"]))
        for sign in '"\\+':
            if sign not in odd:
                found.append(f"the demo has no target with {sign}: choose another number of executions")
        for target, identifier in odd.values():
            choice = {"target": [target], "execution_id": [identifier]}
            for query in _targets(board, "Last poll"):
                if not self.filled(board, query, choice):
                    found.append(f"execution.json: choosing the target {target} gives nothing")
        return found

    def throttled_choices(self, name):
        if name != "execution.json":
            return {}
        failing = self.prometheus.instant("aws_iot_command_execution_poll_failure", self.now)
        return {"execution_id": [failing[0]["metric"]["execution_id"] if failing else "none"]}

    def _choices(self, name):
        """What is chosen: for the dashboard of one execution some that have all between them."""
        if name != "execution.json":
            return [{}]
        kinds = (
            'aws_iot_command_execution_status{status="IN_PROGRESS"} == 1',
            "aws_iot_command_execution_started_timestamp_seconds",
            'aws_iot_command_execution_status_reason{origin="device"}',
            'aws_iot_command_execution_status_reason{origin="service"}',
        )
        found = [series for kind in kinds for series in self.prometheus.instant(kind, self.now)[:1]]
        return [{"execution_id": [series["metric"]["execution_id"]]} for series in found]

    def _any_filled(self, board, target, choices):
        return any([self.filled(board, target, choice) for choice in choices])

    def _label_values(self, board, variable, choice):
        asked = model.LABEL_VALUES.match(variable["query"]["query"])
        if not asked:
            return []
        metric = asked["metric"] and model.substituted(asked["metric"], board, choice)
        self.asked += 1
        return self.prometheus.label_values(asked["label"], metric)
