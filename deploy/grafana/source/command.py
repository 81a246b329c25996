"""One command, or a few to compare: how its executions end, how long they take, which are open now."""

from source.board import Board
from source.panels import (
    ANY_IS_ORANGE, ANY_IS_RED, EXECUTION, EXPORTER, MARGIN, OPEN, RATIO, bars, execution_link, moments, query, series,
    stat, status_colours, status_number, status_values, table, timeline, variable,
)

SCOPE = 'account_id=~"$account_id",region=~"$region"'
COMMAND = f'{SCOPE},command=~"$command"'
ONE = f'{COMMAND},target=~"$target"'
KEY = "account_id, region, target, execution_id"
IS_OPEN = f"and ignoring(status) {EXECUTION}status{{{ONE},{OPEN}}} == 1"
MARGIN_SECONDS = f"{EXECUTION}timeout_margin_seconds{{{ONE}}}"
COMPLETIONS = f"{EXECUTION}completions_total"
BUCKETS = f"{EXECUTION}completion_duration_seconds_bucket"
FAILED_NOW = f'and ignoring(status) {EXECUTION}status{{{ONE},status=~"FAILED|REJECTED"}} == 1'


def board():
    made = Board(
        "aws-iot-command", "AWS IoT commands: one command",
        "How the executions of one command end, how long they take, and which are open.",
        [
            variable("account_id", "Account", f"label_values({EXPORTER}api_rate_limit_requests_per_second, account_id)"),
            variable(
                "region", "Region",
                f'label_values({EXPORTER}api_rate_limit_requests_per_second{{account_id=~"$account_id"}}, region)',
            ),
            variable("command", "Command", f"label_values(aws_iot_command_executions{{{SCOPE}}}, command)"),
            variable("target", "Target", f"label_values({EXECUTION}info{{{COMMAND}}}, target)"),
        ],
        [
            moments(
                "Failed and rejected", "red",
                f"topk(50, {EXECUTION}completed_timestamp_seconds{{{ONE}}}\n  {FAILED_NOW}) * 1000",
                "{{command}} failed on {{target}}", "execution_id",
            ),
            moments(
                "Succeeded", "green",
                f"topk(50, {EXECUTION}completed_timestamp_seconds{{{ONE}}}\n"
                f'  and ignoring(status) {EXECUTION}status{{{ONE},status="SUCCEEDED"}} == 1) * 1000',
                "{{command}} succeeded on {{target}}", "execution_id", enable=False,
            ),
        ],
    )
    _now(made)
    _open(made)
    _ends(made)
    _durations(made)
    return made


def _now(made):
    made.row("Now")
    made.add(8, 4, stat(
        "Executions by status", "All that are tracked, by status as last polled; those without any are left out.", "short",
        [query(f"sum by (status) (aws_iot_command_executions{{{COMMAND}}}) > 0", "{{status}}", instant=True)],
        text="value_and_name", overrides=status_colours(),
    ))
    made.add(4, 4, stat(
        "Succeeded", "Share of the executions seen to end in the time range that ended well. Empty if none ended.",
        "percentunit",
        [query(
            f'sum(increase({COMPLETIONS}{{{COMMAND},status="SUCCEEDED"}}[$__range]))\n'
            f"  / (sum(increase({COMPLETIONS}{{{COMMAND}}}[$__range])) > 0)", instant=True,
        )],
        RATIO, decimals=1, no_value="none ended",
    ))
    made.add(4, 4, stat(
        "Overdue", "Past their deadline and still open; for a few seconds this is usual.", "short",
        [query(f"count({MARGIN_SECONDS} < 0 {IS_OPEN}) or vector(0)", instant=True)], ANY_IS_RED,
    ))
    made.add(4, 4, stat(
        "Finished late", "The device's last report came after the deadline: the timeout is too short, or the device too "
        "slow.", "short",
        [query(
            f"count({MARGIN_SECONDS} < 0 and ignoring(status) "
            f'{EXECUTION}status{{{ONE},status=~"SUCCEEDED|FAILED|REJECTED"}} == 1) or vector(0)', instant=True,
        )],
        ANY_IS_ORANGE,
    ))
    made.add(4, 4, stat(
        "Median duration", "From creation to the end, of the executions that ended in the time range.", "s",
        [query(f"histogram_quantile(0.5, sum by (le) (increase({BUCKETS}{{{COMMAND}}}[$__range])))", instant=True)],
        no_value="none ended",
    ))


def _open(made):
    made.row("Executions")
    made.add(12, 12, timeline(
        "Status of the newest", "The twenty executions created last, each in its lane.",
        [query(
            status_number(ONE, KEY)
            + f"\nand on ({KEY}) topk(20, max by ({KEY}) ({EXECUTION}created_timestamp_seconds{{{ONE}}} @ end()))",
            "{{target}}",
        )],
        status_values(), links=[execution_link(labels=True)],
    ))
    made.add(12, 12, bars(
        "Time left, as a share of the timeout", "The fifteen open executions with the least left; zero is overdue. A bar "
        "leads to its execution.", "percentunit",
        [query(
            f"bottomk(15,\n  clamp_min({MARGIN_SECONDS} / {EXECUTION}timeout_seconds{{{ONE}}}, 0)\n  {IS_OPEN}\n)",
            "{{target}}", instant=True,
        )],
        MARGIN, min=0, max=1, links=[execution_link(labels=True)], no_value="none open",
    ))
    labels = ["target", "execution_id", "command", "account_id", "region"]
    made.add(12, 9, table(
        "Open", "The hundred open executions closest to their deadline; negative is overdue.", "s",
        [query(f"bottomk(100, {MARGIN_SECONDS} {IS_OPEN})", instant=True)], "Left", labels,
        [("red", None), ("orange", 0), ("yellow", 30), ("green", 120)], descending=False,
        links=[execution_link(labels=False)], no_value="none open",
    ))
    made.add(12, 9, table(
        "Failed and rejected last", "The fifty that ended so last, with the time since.", "s",
        [query(
            f"bottomk(50, time() - {EXECUTION}completed_timestamp_seconds{{{ONE}}} {FAILED_NOW})", instant=True,
        )],
        "Ended before", labels, descending=False, links=[execution_link(labels=False)], no_value="none",
    ))


def _ends(made):
    made.row("How they end")
    made.add(12, 9, series(
        "Ends by status", "Executions seen to end, in each step of the graph.", "short",
        [query(f"sum by (status) (increase({COMPLETIONS}{{{COMMAND}}}[$__rate_interval]))", "{{status}}")],
        stacked=True, drawn="bars", overrides=status_colours(), decimals=0,
    ))
    made.add(6, 9, bars(
        "Reasons", "Codes of the ended executions that are tracked; codes that are not in `metrics.reason_codes` are "
        "`other`.", "short",
        [query(f"topk(10, sum by (origin, code) ({EXECUTION}status_reason{{{ONE}}}))", "{{origin}}: {{code}}", instant=True)],
        [("blue", None)], min=0, no_value="none",
    ))
    timed_out = f'{EXECUTION}status{{{ONE},status="TIMED_OUT"}} == 1 and ignoring(status) {EXECUTION}terminal{{{ONE}}}'
    made.add(6, 9, bars(
        "Time-outs", "By the service: no answer in time, and the device may still report. By the device: it gave up by "
        "itself, for good. Revised: late reports that replaced a time-out in the time range.", "short",
        [
            query(f"count({timed_out} == 0) or vector(0)", "by the service", instant=True),
            query(f"count({timed_out} == 1) or vector(0)", "by the device", instant=True),
            query(f"sum by (to) (increase({EXECUTION}timeouts_revised_total{{{COMMAND}}}[$__range]))",
                  "revised to {{to}}", instant=True),
        ],
        [("orange", None)], min=0, decimals=0,
    ))


def _durations(made):
    made.row("How long they take")
    made.add(12, 9, series(
        "Duration against the timeout", "From creation to the end, of those that end in each step of the graph, with the "
        "longest timeout in use.", "s",
        [
            *(query(
                f"histogram_quantile({quantile}, sum by (le) (rate({BUCKETS}{{{COMMAND}}}[$__rate_interval])))", name,
            ) for quantile, name in ((0.5, "median"), (0.95, "95th percentile"))),
            query(f"max({EXECUTION}timeout_seconds{{{ONE}}})", "longest timeout"),
        ],
    ))
    made.add(12, 9, bars(
        "95th percentile by end", "Duration of the executions that ended in the time range, by the status they ended in.",
        "s",
        [query(
            f"histogram_quantile(0.95, sum by (le, status) (increase({BUCKETS}{{{COMMAND}}}[$__range]))) >= 0",
            "{{status}}", instant=True,
        )],
        [("blue", None)], min=0, no_value="none ended",
    ))
