"""Reads the dashboards as Grafana would: panels, every query, and what its variables put in their places."""

import json
import re

WINDOWS = {"__rate_interval": "15s", "__interval": "5s", "__range": "60s", "__range_s": "60"}
# Queries that Grafana itself sends in place of these functions of variables.
LABEL_VALUES = re.compile(r"^label_values\((?:(?P<metric>.+),\s*)?(?P<label>[a-zA-Z_]\w*)\)$", re.DOTALL)
PLACE = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")


def load(folder):
    """`{file name: dashboard}` of a folder."""
    return {path.name: json.loads(path.read_text()) for path in sorted((folder / "dashboards").glob("*.json"))}


def panels(dashboard):
    """Every panel that is not a row, those in collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def variables(dashboard):
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def annotations(dashboard):
    return dashboard["annotations"]["list"]


def regex_escaped(value):
    """As Grafana's Prometheus datasource escapes a value of a variable that may have several."""
    doubled = value.replace("\\", "\\\\\\\\").replace('"', '\\\\\\"')
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", doubled)


def escaped(value):
    """As it escapes one of a variable that has only one."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def text_of(variable, chosen):
    """What stands in the query for this choice: a list of values, or None for all."""
    if variable["type"] != "query":
        return escaped(chosen[0]) if chosen else variable["current"]["value"]
    if not (variable["multi"] or variable["includeAll"]):
        return escaped(chosen[0])
    if chosen is None:
        return variable["allValue"]
    texts = [regex_escaped(value) for value in chosen]
    return texts[0] if len(texts) == 1 else "(" + "|".join(texts) + ")"


def substituted(expr, dashboard, choices):
    """The query as Prometheus gets it. A place that nothing fills is an error, as it would be there."""
    known = variables(dashboard)

    def fill(found):
        name = found["braced"] or found["bare"]
        if found["format"]:
            raise ValueError(f"${{{name}:{found['format']}}}: formats are not used in queries")
        if name in WINDOWS:
            return WINDOWS[name]
        return text_of(known[name], choices.get(name))

    return PLACE.sub(fill, expr)
