"""Panels, variables and annotations of the dashboards: each function gives one JSON object as Grafana stores it.

Every panel names its datasource by the variable, and has a description and a unit; `.ci/dashboards` insists on both.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

EXECUTION = "aws_iot_command_execution_"
EXPORTER = "aws_iot_command_exporter_"

# The status as a number, for state timelines: PromQL cannot make a value from a label.
STATES = {
    "CREATED": (1, "blue"),
    "IN_PROGRESS": (2, "yellow"),
    "SUCCEEDED": (3, "green"),
    "FAILED": (4, "red"),
    "REJECTED": (5, "purple"),
    "TIMED_OUT": (6, "orange"),
    "UNKNOWN": (7, "text"),
}
OPEN = 'status=~"CREATED|IN_PROGRESS"'

GREEN = [("green", None)]
NEUTRAL = [("text", None)]
# Something counted that should not be there at all.
ANY_IS_RED = [("green", None), ("red", 1)]
ANY_IS_ORANGE = [("green", None), ("orange", 1)]
# What is left of a timeout, as a share of it.
MARGIN = [("red", None), ("orange", 0.1), ("yellow", 0.2), ("green", 0.5)]
RATIO = [("red", None), ("orange", 0.9), ("green", 0.98)]


def status_number(selector, keep):
    """The status as in STATES, one series for each combination of the labels in `keep`."""
    cases = [
        f'{number} * ({EXECUTION}status{{{selector},status="{status}"}} == 1)' for status, (number, _) in STATES.items()
    ]
    return f"max by ({keep}) (\n  " + "\n  or ".join(cases) + "\n)"


def values(mapping):
    """Value mappings from `{number: (text, colour)}`."""
    options = {
        str(number): {"color": colour, "index": index, "text": text}
        for index, (number, (text, colour)) in enumerate(mapping.items())
    }
    return [{"options": options, "type": "value"}]


def status_values():
    return values({number: (status, colour) for status, (number, colour) in STATES.items()})


def status_colours():
    """Fixed colours for series that are named after a status."""
    return [
        {
            "matcher": {"id": "byName", "options": status},
            "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
        }
        for status, (_, colour) in STATES.items()
    ]


def query(expr, legend="", instant=False):
    """One query of a panel; its letter is given when the panel is put together."""
    target = {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "time_series",
        "instant": instant,
        "range": not instant,
    }
    return target | ({"legendFormat": legend} if legend else {})


def panel(kind, title, description, unit, queries, options, steps, custom=None, **more):
    """What all panels have in common. `more`: mappings, overrides, links, min, max, decimals, no_value, transformations."""
    targets = [target | {"refId": chr(ord("A") + index)} for index, target in enumerate(queries)]
    colour = more.get("color", {"mode": "thresholds"})
    defaults = {
        "color": colour,
        "mappings": more.get("mappings", []),
        "thresholds": {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps]},
        "unit": unit,
    }
    if custom is not None:
        defaults["custom"] = custom
    for key, name in (("min", "min"), ("max", "max"), ("decimals", "decimals"), ("no_value", "noValue"), ("links", "links")):
        if key in more:
            defaults[name] = more[key]
    made = {
        "datasource": DATASOURCE,
        "description": description,
        "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
        "options": options,
        "targets": targets,
        "title": title,
        "type": kind,
    }
    if "transformations" in more:
        made["transformations"] = more["transformations"]
    return made


def reduce():
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title, description, unit, queries, steps=NEUTRAL, background=False, text="value", **more):
    """One big number for each series. `text`: value, name or value_and_name."""
    options = {
        "colorMode": "background" if background else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": reduce(),
        "showPercentChange": False,
        "textMode": text,
        "wideLayout": True,
    }
    return panel("stat", title, description, unit, queries, options, steps, **more)


def bars(title, description, unit, queries, steps, **more):
    """A bar for each series: margins, shares, counts."""
    options = {
        "displayMode": "gradient",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 32,
        "minVizHeight": 14,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": reduce(),
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return panel("bargauge", title, description, unit, queries, options, steps, **more)


def series(title, description, unit, queries, stacked=False, drawn="line", steps=GREEN, limits=False, **more):
    """Lines, areas or columns over time. `limits` draws the thresholds."""
    custom = {
        "axisSoftMin": 0,
        "drawStyle": drawn,
        "fillOpacity": 70 if drawn == "bars" else 25 if stacked else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more.setdefault("color", {"mode": "palette-classic"})
    return panel("timeseries", title, description, unit, queries, options, steps, custom, **more)


def timeline(title, description, queries, mappings, **more):
    """States over time, one lane for each series."""
    options = {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 75, "lineWidth": 0}
    return panel("state-timeline", title, description, "none", queries, options, NEUTRAL, custom, mappings=mappings, **more)


def table(title, description, unit, queries, value, columns, steps=NEUTRAL, gauge=False, descending=True, **more):
    """One row for each series: `value` names the number's column, `columns` the labels in their order."""
    order = {name: index for index, name in enumerate([value, *columns])}
    shown = {"type": "gauge", "mode": "basic", "valueDisplayMode": "color"} if gauge else {"type": "color-text"}
    cells = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False}
    overrides = [
        {"matcher": {"id": "byName", "options": value}, "properties": [{"id": "custom.cellOptions", "value": shown}]}
    ]
    options = {
        "cellHeight": "sm",
        "frameIndex": 0,
        "showHeader": True,
        "sortBy": [{"desc": descending, "displayName": value}],
    }
    transformations = [
        {"id": "filterFieldsByName", "options": {"include": {"names": ["Value", *columns]}}},
        {"id": "organize", "options": {
            "excludeByName": {},
            "indexByName": {("Value" if name == value else name): index for name, index in order.items()},
            "renameByName": {"Value": value},
        }},
    ]
    queries = [target | {"format": "table"} for target in queries]
    return panel(
        "table", title, description, unit, queries, options, steps, cells,
        overrides=overrides, transformations=transformations, **more,
    )


def variable(name, label, definition, many=True, sort=1):
    """A variable that asks Prometheus. With `many`: several values, or all of them."""
    made = {
        "datasource": DATASOURCE,
        "definition": definition,
        "hide": 0,
        "includeAll": many,
        "label": label,
        "multi": many,
        "name": name,
        "options": [],
        "query": {"query": definition, "refId": name},
        "refresh": 2,
        "regex": "",
        "sort": sort,
        "type": "query",
    }
    if many:
        # Not a list of all values: with many devices its regular expression would be too long for the server.
        made |= {"allValue": ".+", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return made


def choice(name, label, options, description):
    """A variable with fixed options, `{text: value}`; the first is preset."""
    listed = [
        {"selected": index == 0, "text": text, "value": value} for index, (text, value) in enumerate(options.items())
    ]
    return {
        "current": listed[0],
        "description": description,
        "hide": 0,
        "includeAll": False,
        "label": label,
        "multi": False,
        "name": name,
        "options": listed,
        "query": ", ".join(f"{text} : {value}" for text, value in options.items()),
        "type": "custom",
    }


def datasource():
    return {
        "hide": 0,
        "includeAll": False,
        "label": "Prometheus",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }


def exporter_url():
    """Where people reach the exporter's own page: not to be known from the metrics behind a Service or a proxy."""
    preset = {"selected": True, "text": "http://localhost:10477/", "value": "http://localhost:10477/"}
    return {
        "current": preset,
        "description": "Address of the exporter's own page, for the link at the top.",
        "hide": 0,
        "label": "Exporter's page",
        "name": "exporter_url",
        "options": [preset],
        "query": preset["value"],
        "type": "textbox",
    }


def moments(name, colour, expr, title, tags="", enable=True):
    """An annotation at the very times that are the query's values, in milliseconds."""
    return {
        "datasource": DATASOURCE,
        "enable": enable,
        "expr": expr,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "step": "15s",
        "tagKeys": tags,
        "textFormat": "",
        "titleFormat": title,
        "useValueForTime": True,
    }


def execution_link(labels):
    """From a bar (`labels`) or a table's row to the dashboard of that execution."""
    source = "__field.labels" if labels else "__data.fields"
    parts = [f"var-{name}=${{{source}.{name}}}" for name in ("account_id", "region", "execution_id")]
    return {
        "targetBlank": False,
        "title": "This execution",
        "url": f"/d/aws-iot-command-execution?{'&'.join(parts)}&${{datasource:queryparam}}&${{__url_time_range}}",
    }


def command_link():
    parts = [f"var-{name}=${{__field.labels.{name}}}" for name in ("account_id", "region", "command")]
    return {
        "targetBlank": False,
        "title": "This command",
        "url": f"/d/aws-iot-command?{'&'.join(parts)}&${{datasource:queryparam}}&${{__url_time_range}}",
    }
