"""A dashboard: panels in rows, twenty-four columns wide, with the links and annotations that all of them have."""

from source.panels import EXPORTER, datasource, exporter_url, moments

TAG = "aws-iot-command"


class Board:
    """Takes panels in reading order and gives each its place and number."""

    def __init__(self, uid, title, description, variables, annotations=(), since="now-1h"):
        self.uid, self.title, self.description, self.since = uid, title, description, since
        self.variables = [datasource(), *variables, exporter_url()]
        self.annotations = [*annotations, *service_annotations()]
        self.panels = []
        self.x = self.y = self.height = 0

    def row(self, title):
        """Begins a new row under this heading."""
        self._new_line()
        self.panels.append({
            "collapsed": False,
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": self.y},
            "id": len(self.panels) + 1,
            "panels": [],
            "title": title,
            "type": "row",
        })
        self.y += 1

    def add(self, width, height, panel):
        """The next panel, on the same line if it fits."""
        if self.x + width > 24:
            self._new_line()
        place = {"h": height, "w": width, "x": self.x, "y": self.y}
        self.panels.append(panel | {"gridPos": place, "id": len(self.panels) + 1})
        self.x += width
        self.height = max(self.height, height)

    def _new_line(self):
        self.y += self.height
        self.x = self.height = 0

    def json(self):
        """As Grafana stores it."""
        return {
            "annotations": {"list": self.annotations},
            "description": self.description,
            "editable": True,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": links(),
            "panels": self.panels,
            "refresh": "30s",
            "schemaVersion": 39,
            "tags": [TAG],
            "templating": {"list": self.variables},
            "time": {"from": self.since, "to": "now"},
            "timepicker": {},
            "timezone": "",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        }


def links():
    """To the other dashboards, and to the exporter's page."""
    common = {"asDropdown": False, "tooltip": ""}
    others = {"icon": "external link", "includeVars": True, "keepTime": True, "tags": [TAG], "targetBlank": False}
    page = {"icon": "info", "includeVars": False, "keepTime": False, "tags": [], "targetBlank": True}
    return [
        common | others | {"title": "AWS IoT commands", "type": "dashboards", "url": ""},
        common | page | {"title": "Exporter's page", "type": "link", "url": "${exporter_url}"},
    ]


def service_annotations():
    """What happened to the exporter, on every dashboard: a gap in the data often begins here."""
    started = f"process_start_time_seconds and on (job, instance) {EXPORTER}build_info"
    return [
        moments(
            "Configuration reloads", "blue", f"{EXPORTER}config_last_reload_success_timestamp_seconds * 1000",
            "Configuration loaded by {{instance}}",
        ),
        moments("Exporter starts", "purple", f"({started}) * 1000", "Exporter {{instance}} started"),
    ]
