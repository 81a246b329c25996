"""The exporter itself: does it poll, within which quota, how late, and is it well?"""

from source.board import Board
from source.panels import (
    ANY_IS_RED, EXECUTION, EXPORTER, bars, query, series, stat, table, timeline, values, variable,
)

JOB = 'job=~"$job",instance=~"$instance"'
SCOPE = f'{JOB},account_id=~"$account_id",region=~"$region"'
REQUESTS = f"{EXPORTER}api_requests_total"
LIMIT = f"{EXPORTER}api_rate_limit_requests_per_second"
YES_NO = {1: ("yes", "green"), 0: ("no", "red")}


def board():
    made = Board(
        "aws-iot-command-exporter", "AWS IoT commands: exporter",
        "Whether the exporter polls, within which quota, how late, and how it fares as a process.",
        [
            variable("job", "Job", f"label_values({EXPORTER}build_info, job)"),
            variable("instance", "Instance", f'label_values({EXPORTER}build_info{{job=~"$job"}}, instance)'),
            variable("account_id", "Account", f"label_values({LIMIT}{{{JOB}}}, account_id)"),
            variable("region", "Region", f'label_values({LIMIT}{{{JOB},account_id=~"$account_id"}}, region)'),
        ],
    )
    _now(made)
    _quota(made)
    _lateness(made)
    _scrapes(made)
    _process(made)
    return made


def _now(made):
    made.row("Now")
    made.add(3, 4, stat(
        "Up", "Whether Prometheus reaches every chosen exporter.", "none", [query(f"min(up{{{JOB}}})", instant=True)],
        background=True, mappings=values(YES_NO), no_value="absent",
    ))
    made.add(3, 4, stat(
        "Configuration good", "Whether the last attempt to load it succeeded; if not, the one before is in force.", "none",
        [query(f"min({EXPORTER}config_last_reload_successful{{{JOB}}})", instant=True)],
        background=True, mappings=values(YES_NO), no_value="absent",
    ))
    made.add(3, 4, stat(
        "Credentials good", "Whether every account has credentials that AWS accepts.", "none",
        [query(f'min({EXPORTER}credentials_valid{{{JOB},account_id=~"$account_id"}})', instant=True)],
        background=True, mappings=values(YES_NO), no_value="not known",
    ))
    made.add(3, 4, stat(
        "Scheduler seen", "Time since the scheduler last went round. It does so at least every few seconds, whatever AWS "
        "answers.", "s",
        [query(f"time() - min({EXPORTER}scheduler_heartbeat_timestamp_seconds{{{JOB}}})", instant=True)],
        [("green", None), ("orange", 30), ("red", 60)], decimals=0,
    ))
    made.add(6, 4, stat(
        "Tracked executions", "By what is known of them. Those that the service has timed out are open: the device may "
        "report late.", "short",
        [query(f"sum by (state) ({EXPORTER}tracked_executions{{{JOB}}})", "{{state}}", instant=True)], text="value_and_name",
    ))
    made.add(3, 4, stat(
        "Dropped", "Executions over `limits.executions`, since the start: they are not watched.", "short",
        [query(f"sum({EXPORTER}executions_dropped_total{{{JOB}}})", instant=True)], ANY_IS_RED,
    ))
    made.add(3, 4, stat(
        "Restarts", "In the time range.", "short",
        [query(
            f"sum(changes(process_start_time_seconds{{{JOB}}}[$__range]) and on (job, instance) {EXPORTER}build_info)",
            instant=True,
        )],
        [("green", None), ("orange", 1), ("red", 3)],
    ))
    made.add(12, 5, table(
        "Builds", "What runs where. The value is always 1.", "none",
        [query(f"{EXPORTER}build_info{{{JOB}}}", instant=True)], "Present", ["instance", "version", "revision", "rustc"],
    ))
    made.add(12, 5, table(
        "Configurations", "SHA-256 of the file in force: shards of one fleet should agree. The value is always 1.", "none",
        [query(f"{EXPORTER}config_hash_info{{{JOB}}}", instant=True)], "Present", ["instance", "hash"],
    ))


def _quota(made):
    made.row("Quota")
    by = "account_id, region, operation"
    name = "{{operation}} {{account_id}} {{region}}"
    made.add(8, 9, series(
        "Use of the limit", "Calls a second as a share of the configured limit. Near 100 %, polls queue up: lengthen "
        "`poll.interval`, or raise the limit if the quota allows.", "percentunit",
        [query(
            f"sum by ({by}) (rate({REQUESTS}{{{SCOPE}}}[$__rate_interval]))\n"
            f'  / sum by ({by}) ({LIMIT}{{{SCOPE},kind="configured"}})', name,
        )],
        steps=[("green", None), ("orange", 0.9)], limits=True,
    ))
    made.add(8, 9, series(
        "Limit, and what throttling leaves of it", "`current` below `configured` is AWS throttling: another caller uses the "
        "same quota, or the limit is above it.", "reqps",
        [query(f"sum by ({by}, kind) ({LIMIT}{{{SCOPE}}})", "{{kind}} " + name)],
    ))
    made.add(8, 9, series(
        "Throttled", "Calls a second that AWS refused for being too many.", "reqps",
        [query(f'sum by ({by}) (rate({REQUESTS}{{{SCOPE},outcome="throttled"}}[$__rate_interval]))', name)],
        no_value="none",
    ))
    made.add(12, 9, series(
        "Calls by outcome", "Calls of the AWS API a second. docs/troubleshooting.md says what each failure means.", "reqps",
        [query(
            f"sum by (operation, outcome) (rate({REQUESTS}{{{SCOPE}}}[$__rate_interval]))", "{{operation}} {{outcome}}",
        )],
        stacked=True,
    ))
    calls = f"{EXPORTER}api_request_duration_seconds"
    made.add(12, 9, series(
        "Duration of calls", "As the exporter sees them, successful or not.", "s",
        [query(
            f"histogram_quantile({quantile}, sum by (le, operation) (rate({calls}_bucket{{{JOB}}}[$__rate_interval])))\n"
            f"  and on (operation) sum by (operation) (rate({calls}_count{{{JOB}}}[$__rate_interval])) > 0",
            f"{text} {{{{operation}}}}",
        ) for quantile, text in ((0.5, "median"), (0.99, "99th percentile"))],
    ))


def _lateness(made):
    made.row("Lateness and failures")
    lag = f"{EXPORTER}poll_lag_seconds_bucket{{{JOB}}}"
    made.add(8, 8, series(
        "How late polls start", "Against when they were due. It grows when the limit does not suffice for all open "
        "executions.", "s",
        [query(f"histogram_quantile({quantile}, sum by (le) (rate({lag}[$__rate_interval])))", text)
         for quantile, text in ((0.5, "median"), (0.99, "99th percentile"))],
    ))
    made.add(8, 8, series(
        "Age of the oldest observation", "How long ago the stalest execution that can still change was last polled. Up to "
        "`poll.max_staleness` / 2 is usual while time-outs set by the service are among them.", "s",
        [query(
            f"time() - min by (account_id, region) ({EXPORTER}oldest_open_observation_timestamp_seconds{{{SCOPE}}})",
            "{{account_id}} {{region}}",
        )],
        steps=[("green", None), ("red", 600)], limits=True,
    ))
    made.add(8, 8, bars(
        "Why polls fail", "Executions whose last poll failed, by reason, account and Region.", "short",
        [query(
            f"count by (account_id, region, reason) ({EXECUTION}poll_failure{{{SCOPE}}})",
            "{{reason}} · {{account_id}} {{region}}", instant=True,
        )],
        [("red", None)], min=0, no_value="none fails",
    ))
    made.add(24, 5, timeline(
        "Credentials and configuration", "Whether credentials were accepted, by account, and whether the last load of the "
        "configuration succeeded.",
        [
            query(f'{EXPORTER}credentials_valid{{{JOB},account_id=~"$account_id"}}', "credentials of {{account_id}}"),
            query(f"{EXPORTER}config_last_reload_successful{{{JOB}}}", "configuration of {{instance}}"),
        ],
        values({1: ("good", "green"), 0: ("bad", "red")}),
    ))


def _scrapes(made):
    made.row("Scrapes")
    made.add(8, 8, series(
        "Scrapes by answer", "Answers of the metrics page a second, by HTTP status.", "reqps",
        [query(f"sum by (code) (rate({EXPORTER}scrapes_total{{{JOB}}}[$__rate_interval]))", "{{code}}")], stacked=True,
    ))
    duration = f"{EXPORTER}scrape_duration_seconds_bucket{{{JOB}}}"
    made.add(8, 8, series(
        "Duration of scrapes", "From the request to the last byte, as the exporter sees it, and as Prometheus does.", "s",
        [
            query(
                f"histogram_quantile(0.99, sum by (le) (rate({duration}[$__rate_interval])))",
                "99th percentile, exporter",
            ),
            query(f"max(scrape_duration_seconds{{{JOB}}})", "Prometheus"),
        ],
    ))
    made.add(8, 8, series(
        "Samples a scrape", "About 16 for each execution with every family; `metrics.disabled` and "
        "`metrics.per_execution` lower it.", "short",
        [query(f"sum by (instance) (scrape_samples_scraped{{{JOB}}})", "{{instance}}")], decimals=0,
    ))


def _process(made):
    made.row("Process")
    made.add(6, 7, series(
        "CPU", "Cores in use.", "short", [query(f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval])", "{{instance}}")],
        decimals=3,
    ))
    made.add(6, 7, series(
        "Memory", "Resident.", "bytes", [query(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}")],
    ))
    made.add(6, 7, series(
        "File descriptors", "In use, as a share of those allowed.", "percentunit",
        [query(f"process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}}", "{{instance}}")],
        steps=[("green", None), ("red", 0.8)], limits=True,
    ))
    made.add(6, 7, series(
        "Threads", "Of the process.", "short", [query(f"process_threads{{{JOB}}}", "{{instance}}")], decimals=0,
    ))
