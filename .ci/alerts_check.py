"""Checks the rules of deploy/prometheus, their unit tests, the runbooks and the routes of deploy/alertmanager.

Usage: python .ci/alerts_check.py [ALERT…]: only the tests and mutations of these

- Every alert has its labels, annotations and page, and tests that it fires, stays silent and resolves.
- The unit tests pass; and every threshold, comparison and length of `for` that is changed makes one of them fail.
- Alerts go to the receivers they are meant for, and all that an inhibition rule is for have the labels in `equal`.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import yaml

PROMETHEUS = pathlib.Path("deploy/prometheus")
ALERTMANAGER = pathlib.Path("deploy/alertmanager/alertmanager.yml")
RUNBOOKS = pathlib.Path("docs/runbooks")
URL = "https://github.com/OWNER/aws-iot-command-exporter/blob/main/docs/runbooks"
SECTIONS = ["Meaning", "Impact", "First query", "Diagnosis", "Mitigation", "Silencing", "False positives"]
PLACE = {"account_id", "region"}
INSTANCE = {"job", "instance"}
PIECES = 4
"""Runs of promtool at the same time; it takes one core each."""


def load(file):
    return yaml.safe_load(file.read_text())


def rules_by_file():
    files = {}
    for file in sorted((PROMETHEUS / "rules").glob("*.yaml")):
        files[file.stem] = [rule for group in load(file)["groups"] for rule in group["rules"]]
    return files


def test_files(alert):
    return sorted([*(PROMETHEUS / "tests").glob(f"{alert}.yaml"), *(PROMETHEUS / "tests").glob(f"{alert}.*.yaml")])


# ------------------------------------------------------------------------------------------------ what is there


def rule_faults(rule):
    name, labels, notes = rule["alert"], rule.get("labels", {}), rule.get("annotations", {})
    if set(labels) != {"severity", "component"}:
        yield f"{name}: labels {sorted(labels)}"
    if labels.get("severity") not in ("critical", "warning"):
        yield f"{name}: severity {labels.get('severity')}"
    if labels.get("component") != ("exporter" if name.startswith("AwsIotCommandExporter") else "executions"):
        yield f"{name}: component {labels.get('component')}"
    if list(notes) != ["summary", "description", "runbook_url"]:
        yield f"{name}: annotations {list(notes)}"
    text = notes.get("description", "")
    if "$value" not in text or not re.search(r"`[^`]+[^`]`", text) or "page at /" not in text:
        yield f"{name}: the description lacks the value, a query or the exporter's page"
    if notes.get("runbook_url") != f"{URL}/{name}.md":
        yield f"{name}: runbook_url {notes.get('runbook_url')}"
    if re.search(r"\b(target|execution_id)\b", re.sub(r"on \([^)]*\)", "", rule["expr"])):
        yield f"{name}: keeps a label of single executions"
    for divisor in re.findall(r"/\s*(\S[^\n]*)", rule["expr"]):
        if not re.search(r"(> 0\)|>= \d+ \* 60\))", divisor):
            yield f"{name}: a divisor that may be 0: {divisor}"


def test_faults(rule, tests):
    """Names say what a test shows; what it expects must agree."""
    name, severity = rule["alert"], rule["labels"]["severity"]
    component, place = rule["labels"]["component"], name.removeprefix("AwsIotCommandExporter")
    wanted = PLACE | {"command"} if component == "executions" else PLACE
    if place in ("Down", "NotPolling", "CapReached", "ReloadFailed"):
        wanted = INSTANCE
    if place == "Absent":
        wanted = set()
    shown = {"fires": False, "stays silent": False, "resolves": False}
    for test in tests:
        hits = []
        for case in test["alert_rule_test"]:
            found = [alert["exp_labels"] for alert in case["exp_alerts"] if alert["exp_labels"]["severity"] == severity]
            hits.append(bool(found))
            for labels in found:
                if set(labels) - {"severity", "component", "status"} != wanted:
                    yield f"{name}: {test['name']}: labels {sorted(labels)}"
        if f"{severity} fires" in test["name"]:
            shown["fires"] |= hits[-1]
        if f"{severity} stays silent" in test["name"]:
            shown["stays silent"] |= not any(hits)
        if f"{severity} resolves" in test["name"]:
            shown["resolves"] |= any(hits) and not hits[-1]
    for what, is_shown in shown.items():
        if not is_shown:
            yield f"{name}, {severity}: no test shows that it {what}"


def runbook_faults(alerts):
    index = (RUNBOOKS / "README.md").read_text()
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    if pages != alerts:
        yield f"pages and alerts differ: {sorted(pages ^ alerts)}"
    for name in sorted(pages & alerts):
        text = (RUNBOOKS / f"{name}.md").read_text()
        if re.findall(r"^## (.+)$", text, re.M) != SECTIONS or not text.startswith(f"# {name}\n"):
            yield f"{name}.md: not the sections {SECTIONS}"
        if f"]({name}.md)" not in index:
            yield f"{name}.md is not in the index"
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in link and not (RUNBOOKS / link).exists():
                yield f"{name}.md: no file {link}"


def page_queries():
    """Queries of the pages, as one rule file for promtool to parse."""
    rules = []
    for page in sorted(RUNBOOKS.glob("Aws*.md")):
        for number, block in enumerate(re.findall(r"```promql\n(.+?)```", page.read_text(), re.S)):
            # A block may hold several queries, each starting at the margin.
            for part, query in enumerate(re.split(r"\n(?=[a-z#])", block)):
                if not query.startswith("#"):
                    rules.append({"record": f"{page.stem}:{number}:{part}", "expr": query})
                elif "\n" in query:
                    raise SystemExit(f"{page}: a comment and a query in one")
    return {"groups": [{"name": "pages", "rules": rules}]}


def alertmanager_faults(rules):
    config = load(ALERTMANAGER)
    routes = {
        ("executions", "critical"): "executions-pager",
        ("executions", "warning"): "executions-tickets",
        ("exporter", "critical"): "exporter-pager",
        ("exporter", "warning"): "exporter-tickets",
        ("another", "critical"): "unrouted",
    }
    for (component, severity), receiver in routes.items():
        command = ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}"]
        command += [f"--verify.receivers={receiver}", f"component={component}", f"severity={severity}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            yield f"component={component} severity={severity} does not go to {receiver}: {done.stdout}"
    if config["route"]["group_by"] != ["alertname", "account_id", "region", "command"]:
        yield f"grouped by {config['route']['group_by']}"

    labels = {}
    for rule in rules:
        has = PLACE | {"command"} if rule["labels"]["component"] == "executions" else set()
        if not has and "by (account_id, region)" in rule["expr"]:
            has = PLACE
        labels.setdefault((rule["alert"], rule["labels"]["severity"], rule["labels"]["component"]), has)
    for number, rule in enumerate(config["inhibit_rules"], 1):
        for side in ("source_matchers", "target_matchers"):
            hit = [key for key in labels if all(matches(key, matcher) for matcher in rule[side])]
            if not hit:
                yield f"inhibition {number}: {side} match no alert"
            for key in hit:
                lacking = set(rule.get("equal", [])) - labels[key]
                if lacking:
                    yield f"inhibition {number}: {key[0]} has no {sorted(lacking)}, which would count as equal"


def matches(key, matcher):
    name, operator, value = re.fullmatch(r'(\w+)(=~|=)"(.*)"', matcher).groups()
    have = dict(zip(("alertname", "severity", "component"), key))[name]
    return bool(re.fullmatch(value, have)) if operator == "=~" else have == value


# -------------------------------------------------------------------------------------------------- unit tests


def promtool(rules, test, folder):
    """Runs a file of tests over these rules, kept in `folder`; answers whether it passes, and what was said."""
    for name in ("rules", "tests"):
        (folder / name).mkdir(parents=True)
    [stem] = re.findall(r"^rule_files: \[../rules/(\w+).yaml\]$", test.read_text(), re.M)
    (folder / "rules" / f"{stem}.yaml").write_text(yaml.safe_dump({"groups": [{"name": stem, "rules": rules}]}))
    (folder / "tests" / test.name).write_text(test.read_text())
    done = subprocess.run(["promtool", "test", "rules", folder / "tests" / test.name], capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def needed(rules, rule):
    """The recording rules that this alert builds on, in their order: fewer make promtool faster."""
    names, text = set(), rule["expr"]
    for other in reversed([other for other in rules if "record" in other]):
        if re.search(re.escape(other["record"]) + r"\b", text):
            names.add(other["record"])
            text += other["expr"]
    return [other for other in rules if other.get("record") in names]


NUMBER = r"(?<![\w.\[:])\d+(?:\.\d+)?(?![\w.\]:])"


def mutants(rule):
    """The rule with one thing changed, each with a word on what."""
    expr = rule["expr"]

    def changed(start, end, new):
        return {**rule, "expr": expr[:start] + new + expr[end:]}, f"{expr[start:end]} → {new} at {start}"

    for found in re.finditer(r"(?<![=!<>])(==|!=|>=|<=|>|<)(?![=~])", expr):
        if not re.match(r"\s*[\d.-]", expr[found.end() :]):
            continue
        flipped = {"==": "!=", "!=": "==", ">": "<", "<": ">", ">=": "<", "<=": ">"}[found[0]]
        yield changed(*found.span(), flipped)
    for found in re.finditer(r"(=~|!~)(?=\")", expr):
        yield changed(*found.span(), {"=~": "!~", "!~": "=~"}[found[0]])
    for found in re.finditer(NUMBER, expr):
        before, after = expr[: found.start()].rstrip(), expr[found.end() :]
        # The second factor of N * 60 or N * 0.01; and the guards > 0, which are flipped above.
        if before.endswith("*") or (before.endswith(">") and found[0] == "0") or after.startswith((" * sum", " * on")):
            continue
        value = float(found[0])
        if value == int(value) and value <= 10:
            new = [value + 1, value - 1]
        else:
            new = [value * 1.1, value * 0.9]
        for other in new:
            if not (value in (0, 1) and before.endswith("==") and other not in (0, 1)):
                yield changed(*found.span(), f"{other:.10g}")
    if "for" in rule:
        longer = {**rule, "for": re.sub(r"\d+", lambda found: str(2 * int(found[0])), rule["for"])}
        yield longer, f"for {rule['for']} → {longer['for']}"
        yield {key: value for key, value in rule.items() if key != "for"}, f"for {rule['for']} → none"


def jobs(files, alerts):
    """Each alert as it is, which must pass, and each of its mutants, which must not: name, what was changed, and the
    files of tests to try with the rules for each."""
    for rules in files.values():
        for rule in rules:
            name = rule.get("alert")
            if name is None or name not in alerts:
                continue
            if rule is next(other for other in rules if other.get("alert") == name):
                yield name, None, [(file, rules) for file in test_files(name)]
            for mutant, what in mutants(rule):
                yield name, f"{rule['labels']['severity']}: {what}", attempts(rules, rule, mutant)


def attempts(rules, rule, mutant):
    """A file named by a severity has tests for that alone, and does without the rules of the other."""
    severity = rule["labels"]["severity"]
    twins = [other for other in rules if other.get("alert") == rule["alert"]]
    found = []
    for file in test_files(rule["alert"]):
        about = {"critical", "warning"} & set(file.name.split(".")) or {"critical", "warning"}
        kept = [twin for twin in twins if twin["labels"]["severity"] in about]
        if severity in about:
            records = {other["record"]: other for twin in kept for other in needed(rules, twin)}
            in_order = [other for other in rules if other.get("record") in records]
            found.append((file, [*in_order, *(mutant if twin is rule else twin for twin in kept)]))
    return found


def run_job(job, folder):
    name, what, tries = job
    for number, (test, rules) in enumerate(tries):
        passes, said = promtool(rules, test, folder / str(number))
        if not passes:
            return said if what is None else None
    return None if what is None else f"{name}: no test notices {what}"


def main(wanted):
    files = rules_by_file()
    rules = [rule for content in files.values() for rule in content if "alert" in rule]
    alerts = {rule["alert"] for rule in rules}
    faults = []
    for rule in rules:
        tests = [test for file in test_files(rule["alert"]) for test in load(file)["tests"]]
        faults += [*rule_faults(rule), *test_faults(rule, tests)]
    tested = {file.name.split(".")[0] for file in (PROMETHEUS / "tests").glob("*.yaml")}
    if tested != alerts:
        faults.append(f"tests and alerts differ: {sorted(tested ^ alerts)}")
    faults += [*runbook_faults(alerts), *alertmanager_faults(rules)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        pages = pathlib.Path(root) / "pages.yaml"
        pages.write_text(yaml.safe_dump(page_queries()))
        done = subprocess.run(["promtool", "check", "rules", pages], capture_output=True, text=True)
        if done.returncode != 0:
            faults.append(f"queries of the runbooks: {done.stderr}")
        work = list(jobs(files, wanted or alerts))
        with concurrent.futures.ThreadPoolExecutor(min(PIECES, os.cpu_count() or 1)) as pool:
            folders = [pathlib.Path(root) / str(number) for number in range(len(work))]
            faults += [fault for fault in pool.map(run_job, work, folders) if fault]
    for fault in faults:
        print(fault)
    changed = sum(what is not None for _, what, _ in work)
    took = time.monotonic() - began
    print(f"{len(rules)} alerting rules, {len(alerts)} alerts; {changed} changed rules tried in {took:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
