"""Overview of the fleet: what is about to miss its deadline, what is stuck, which commands fail, and whether to believe it.

Only instant queries touch the series of single executions; what is drawn over time comes from the per-command families
and the exporter's own, so that the dashboard stays quick with 100,000 executions.
"""

from source.board import Board
from source.panels import (
    ANY_IS_ORANGE, ANY_IS_RED, EXECUTION, EXPORTER, MARGIN, OPEN, RATIO, bars, choice, command_link,
    execution_link, query, series, stat, status_colours, table, variable,
)

SCOPE = 'account_id=~"$account_id",region=~"$region"'
COMMAND = f'{SCOPE},command=~"$command"'
IS_OPEN = f"and ignoring(status) {EXECUTION}status{{{COMMAND},{OPEN}}} == 1"
MARGIN_SECONDS = f"{EXECUTION}timeout_margin_seconds{{{COMMAND}}}"
TIMEOUT = f"{EXECUTION}timeout_seconds{{{COMMAND}}}"
COMPLETIONS = f"{EXECUTION}completions_total"
LABELS = ["command", "target", "execution_id", "account_id", "region"]
NOT_PICKED_UP = (
    f'{EXECUTION}duration_seconds{{{COMMAND}}} > $not_picked_up\n'
    f'  and ignoring(status) {EXECUTION}status{{{COMMAND},status="CREATED"}} == 1'
)
SILENT = (
    f'time() - {EXECUTION}last_updated_timestamp_seconds{{{COMMAND}}} > $silent\n'
    f'  and ignoring(status) {EXECUTION}status{{{COMMAND},status="IN_PROGRESS"}} == 1'
)
SUCCEEDED = f'increase({COMPLETIONS}{{{COMMAND},status="SUCCEEDED"}}[$__range])'
ENDED = f"increase({COMPLETIONS}{{{COMMAND}}}[$__range])"


def board():
    limits = {"1 min": "60", "5 min": "300", "30 min": "1800", "2 h": "7200"}
    made = Board(
        "aws-iot-command-fleet", "AWS IoT commands: fleet",
        "What is about to miss its deadline, what is stuck, which commands fail, and how fresh all of it is.",
        [
            variable("account_id", "Account", f"label_values({EXPORTER}api_rate_limit_requests_per_second, account_id)"),
            variable(
                "region", "Region",
                f'label_values({EXPORTER}api_rate_limit_requests_per_second{{account_id=~"$account_id"}}, region)',
            ),
            variable("command", "Command", f"label_values(aws_iot_command_executions{{{SCOPE}}}, command)"),
            choice("near", "Near the deadline", {"20 %": "0.2", "10 %": "0.1", "50 %": "0.5"},
                   "An open execution with less than this share of its timeout left counts as near its deadline."),
            choice("not_picked_up", "Not picked up for", dict(list(limits.items())[1:] + list(limits.items())[:1]),
                   "An execution in CREATED for longer counts as stuck."),
            choice("silent", "No update for", {"10 min": "600", **limits},
                   "An execution in IN_PROGRESS without a report of its device for longer counts as stuck."),
        ],
    )
    _now(made)
    _deadlines(made)
    _stuck(made)
    _commands(made)
    _freshness(made)
    return made


def _count(expr):
    return [query(f"count(\n  {expr}\n) or vector(0)", instant=True)]


def _now(made):
    made.row("Now")
    made.add(3, 4, stat(
        "Open", "Executions in CREATED or IN_PROGRESS, as last polled.", "short",
        [query(f"sum(aws_iot_command_executions{{{COMMAND},{OPEN}}})", instant=True)], [("blue", None)],
    ))
    made.add(3, 4, stat(
        "Near their deadline", "Open executions with less than the chosen share of their timeout left, not yet overdue.",
        "short", _count(f"{MARGIN_SECONDS} >= 0 < $near * {TIMEOUT}\n  {IS_OPEN}"), ANY_IS_ORANGE,
    ))
    made.add(3, 4, stat(
        "Overdue", "Past their deadline and still open. The service marks a time-out some moments after the deadline, so "
        "a few seconds here are usual.", "short", _count(f"{MARGIN_SECONDS} < 0\n  {IS_OPEN}"), ANY_IS_RED,
    ))
    made.add(3, 4, stat(
        "Not picked up", "In CREATED for longer than chosen above: device offline, not subscribed, or not allowed to.",
        "short", _count(NOT_PICKED_UP), ANY_IS_ORANGE,
    ))
    made.add(3, 4, stat(
        "Without update", "In IN_PROGRESS, and the device has not reported for longer than chosen above.",
        "short", _count(SILENT), ANY_IS_ORANGE,
    ))
    made.add(3, 4, stat(
        "Succeeded", "Share of the executions that ended in the dashboard's time range and were seen to end well. Empty "
        "if none ended.", "percentunit", [query(f"sum({SUCCEEDED}) / (sum({ENDED}) > 0)", instant=True)], RATIO,
        decimals=1, no_value="none ended",
    ))
    made.add(3, 4, stat(
        "Oldest observation", "Age of the stalest execution's last successful poll, of those that can still change. Those "
        "that the service has timed out are polled up to ten times more seldom, at most every `poll.max_staleness` / 2: "
        "five minutes are usual, ten are not.", "s",
        [query(f"time() - min({EXPORTER}oldest_open_observation_timestamp_seconds{{{SCOPE}}})", instant=True)],
        [("green", None), ("orange", 360), ("red", 600)], decimals=0, no_value="none open",
    ))
    made.add(3, 4, stat(
        "Polls failing", "Executions whose last poll failed; their values are the last ones known. All commands.", "short",
        _count(f"{EXECUTION}poll_failure{{{SCOPE}}}"), ANY_IS_RED,
    ))


def _deadlines(made):
    made.row("About to miss their deadline")
    made.add(12, 11, bars(
        "Time left, as a share of the timeout", "The fifteen open executions with the least left; zero is overdue. A bar "
        "leads to its execution.", "percentunit",
        [query(
            f"bottomk(15,\n  clamp_min({MARGIN_SECONDS} / {TIMEOUT}, 0)\n  {IS_OPEN}\n)",
            "{{command}} · {{target}}", instant=True,
        )],
        MARGIN, min=0, max=1, links=[execution_link(labels=True)], no_value="none open",
    ))
    made.add(12, 11, table(
        "Seconds to the deadline", "The fifty open executions closest to their deadline; negative is overdue.", "s",
        [query(f"bottomk(50,\n  {MARGIN_SECONDS}\n  {IS_OPEN}\n)", instant=True)], "Left", LABELS,
        [("red", None), ("orange", 0), ("yellow", 30), ("green", 120)], descending=False,
        links=[execution_link(labels=False)], no_value="none open",
    ))


def _stuck(made):
    made.row("Stuck")
    made.add(12, 9, table(
        "Not picked up", "In CREATED for longer than chosen above. Is the device connected, subscribed to the request "
        "topic, allowed to by its policy?", "s", [query(f"topk(50,\n  {NOT_PICKED_UP}\n)", instant=True)], "Waiting", LABELS,
        links=[execution_link(labels=False)], no_value="none",
    ))
    made.add(12, 9, table(
        "In progress without update", "In IN_PROGRESS, and the device's last report is older than chosen above.", "s",
        [query(f"topk(50,\n  {SILENT}\n)", instant=True)], "Silent for", LABELS,
        links=[execution_link(labels=False)], no_value="none",
    ))


def _commands(made):
    made.row("Commands")
    made.add(12, 9, series(
        "Ends by status", "Executions seen to end, in each step of the graph. A time-out set by the service counts when "
        "it is seen, and a late report then once more as its own status.", "short",
        [query(f"sum by (status) (increase({COMPLETIONS}{{{COMMAND}}}[$__rate_interval]))", "{{status}}")],
        stacked=True, drawn="bars", overrides=status_colours(), decimals=0,
    ))
    made.add(12, 9, series(
        "Executions by status", "All that are tracked, by status as last polled.", "short",
        [query(f"sum by (status) (aws_iot_command_executions{{{COMMAND}}})", "{{status}}")],
        stacked=True, overrides=status_colours(), decimals=0,
    ))
    made.add(8, 9, bars(
        "Success ratio by command", "Of the executions that ended in the time range; the ten worst. A bar leads to its "
        "command.", "percentunit",
        [query(
            f"bottomk(10,\n  sum by (account_id, region, command) ({SUCCEEDED})\n"
            f"  / (sum by (account_id, region, command) ({ENDED}) > 0)\n)",
            "{{command}}", instant=True,
        )],
        RATIO, min=0, max=1, decimals=1, links=[command_link()], no_value="none ended",
    ))
    made.add(8, 9, bars(
        "Failing commands", "Failed, rejected and timed out in the time range, by command; the ten worst. A bar leads to "
        "its command.", "short",
        [query(
            "topk(10,\n  sum by (account_id, region, command) "
            f'(increase({COMPLETIONS}{{{COMMAND},status!="SUCCEEDED"}}[$__range])) > 0\n)',
            "{{command}}", instant=True,
        )],
        ANY_IS_ORANGE, min=0, decimals=0, links=[command_link()], no_value="none",
    ))
    reasons = f"sum by (origin, code) ({EXECUTION}status_reason{{{COMMAND}}})"
    made.add(8, 9, bars(
        "Reasons", "What the ended executions that are tracked give as their reason. `$NO_RESPONSE_FROM_DEVICE` is the "
        "service giving up; codes that are not in `metrics.reason_codes` are `other`.", "short",
        [query(f"topk(10, {reasons})", "{{origin}}: {{code}}", instant=True)],
        [("blue", None)], min=0, no_value="none",
    ))


def _freshness(made):
    made.row("Can this be believed?")
    made.add(8, 8, series(
        "Age of the oldest observation", "How long ago the stalest execution that can still change was last polled, by account "
        "and Region. Up to `poll.max_staleness` / 2 is usual while time-outs set by the service are among them.", "s",
        [query(
            f"time() - min by (account_id, region) ({EXPORTER}oldest_open_observation_timestamp_seconds{{{SCOPE}}})",
            "{{account_id}} {{region}}",
        )],
        steps=[("green", None), ("red", 600)], limits=True,
    ))
    made.add(8, 8, series(
        "Polls by outcome", "Calls of the AWS API a second. Anything but success is explained in docs/troubleshooting.md.",
        "reqps",
        [query(
            f"sum by (outcome) (rate({EXPORTER}api_requests_total{{{SCOPE}}}[$__rate_interval]))", "{{outcome}}",
        )],
        stacked=True,
    ))
    made.add(8, 8, bars(
        "Why polls fail", "Executions whose last poll failed, by reason, account and Region.", "short",
        [query(
            f"count by (account_id, region, reason) ({EXECUTION}poll_failure{{{SCOPE}}})",
            "{{reason}} · {{account_id}} {{region}}", instant=True,
        )],
        [("red", None)], min=0, no_value="none fails",
    ))
