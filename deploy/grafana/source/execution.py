"""One execution: its life as a timeline, the time it has left, and whether polling it works."""

from source.board import Board
from source.panels import (
    EXECUTION, EXPORTER, MARGIN, bars, moments, query, series, stat, status_number, status_values, table, timeline,
    values, variable,
)

SCOPE = 'account_id=~"$account_id",region=~"$region"'
ONE = f'{SCOPE},target=~"$target",execution_id="$execution_id"'
TIMES = {
    "created": "Created",
    "started": "Started",
    "last_updated": "Last update",
    "completed": "Completed",
    "deadline": "Deadline",
    "expiration": "Forgotten by AWS",
}


def board():
    made = Board(
        "aws-iot-command-execution", "AWS IoT commands: one execution",
        "The life of one execution, the time it has left, and whether polling it works. With All targets, an ID that "
        "several targets share shows all of them.",
        [
            variable("account_id", "Account", f"label_values({EXPORTER}api_rate_limit_requests_per_second, account_id)"),
            variable(
                "region", "Region",
                f'label_values({EXPORTER}api_rate_limit_requests_per_second{{account_id=~"$account_id"}}, region)',
            ),
            variable("target", "Target", f"label_values({EXECUTION}poll_success{{{SCOPE}}}, target)"),
            variable(
                "execution_id", "Execution",
                f'label_values({EXECUTION}poll_success{{{SCOPE},target=~"$target"}}, execution_id)', many=False,
            ),
        ],
        [
            _moment("Created", "blue", "created"),
            _moment("Picked up", "yellow", "started"),
            _moment("Completed", "green", "completed"),
            _moment("Deadline", "red", "deadline"),
        ],
    )
    _now(made)
    _life(made)
    _polling(made)
    return made


def _moment(name, colour, time):
    return moments(name, colour, f"{EXECUTION}{time}_timestamp_seconds{{{ONE}}} * 1000", f"{name}: {{{{target}}}}")


def _now(made):
    made.row("Now")
    made.add(5, 4, stat(
        "Status", "As last polled.", "none", [query(status_number(ONE, "target"), instant=True)],
        background=True, mappings=status_values(), no_value="never polled, or gone",
    ))
    made.add(4, 4, stat(
        "Can it still change?", "A time-out set by the service can: the device may report late.", "none",
        [query(f"max({EXECUTION}terminal{{{ONE}}})", instant=True)],
        mappings=values({0: ("yes", "yellow"), 1: ("no, terminal", "green")}), no_value="not known",
    ))
    made.add(5, 4, stat(
        "Reason", "Who gave it, and its code; codes that are not in `metrics.reason_codes` are `other`.", "none",
        [query(f"max by (origin, code) ({EXECUTION}status_reason{{{ONE}}})", "{{origin}}: {{code}}", instant=True)],
        text="name", no_value="none given",
    ))
    made.add(5, 4, bars(
        "Time left", "Share of the timeout that is left, or was left when it ended; zero is overdue.", "percentunit",
        [query(
            f"clamp_min({EXECUTION}timeout_margin_seconds{{{ONE}}} / {EXECUTION}timeout_seconds{{{ONE}}}, 0)",
            "{{target}}", instant=True,
        )],
        MARGIN, min=0, max=1, no_value="not known",
    ))
    made.add(5, 4, stat(
        "Last poll", "Time since the last successful poll. Executions that have ended for good are not polled any more.",
        "s", [query(f"time() - max({EXECUTION}last_success_timestamp_seconds{{{ONE}}})", instant=True)],
        decimals=0, no_value="never",
    ))


def _life(made):
    made.row("Life")
    made.add(24, 5, timeline(
        "Status", "As polled; the annotations mark the times that AWS itself gives.",
        [query(status_number(ONE, "target"), "{{target}}")], status_values(),
    ))
    made.add(12, 8, series(
        "Time to the deadline", "Falls by a second each second while it is open, and stays as it was when it ended; below "
        "zero it is overdue.", "s",
        [query(f"{EXECUTION}timeout_margin_seconds{{{ONE}}}", "{{target}}")],
        steps=[("red", None), ("green", 0)], limits=True,
    ))
    made.add(12, 8, series(
        "Duration and timeout", "From creation to its end, or until now.", "s",
        [
            query(f"{EXECUTION}duration_seconds{{{ONE}}}", "duration"),
            query(f"{EXECUTION}timeout_seconds{{{ONE}}}", "timeout"),
        ],
    ))
    made.add(12, 6, stat(
        "Times", "As AWS gives them; those that it leaves out are missing. The deadline is creation and timeout.",
        "dateTimeAsIso",
        [
            query(f"max({EXECUTION}{time}_timestamp_seconds{{{ONE}}}) * 1000", name, instant=True)
            for time, name in TIMES.items()
        ],
        text="value_and_name", no_value="not known",
    ))
    made.add(12, 6, table(
        "What it is", "The whole ARNs. The value is always 1.", "none",
        [query(f"{EXECUTION}info{{{ONE}}}", instant=True)], "Present", ["target_arn", "command_arn", "execution_id"],
    ))


def _polling(made):
    made.row("Polling")
    made.add(16, 6, timeline(
        "Health of its polls", "Whether the last poll succeeded, and if not, why. A failed poll leaves the values above as "
        "they were.",
        [
            query(
                f"1 * ({EXECUTION}poll_success{{{ONE}}} == 1)\n"
                f"  or 2 * max without (reason) ({EXECUTION}poll_failure{{{ONE}}})\n"
                f"  or 3 + {EXECUTION}poll_success{{{ONE}}}", "polls",
            ),
            query(f"2 * {EXECUTION}poll_failure{{{ONE}}}", "{{reason}}"),
        ],
        values({1: ("succeeding", "green"), 2: ("failing", "red"), 3: ("not polled yet", "text")}),
    ))
    made.add(8, 6, series(
        "Age of what is shown", "Time since the last successful poll. It grows without end once nothing can change any "
        "more.", "s",
        [query(f"time() - {EXECUTION}last_success_timestamp_seconds{{{ONE}}}", "{{target}}")],
    ))
