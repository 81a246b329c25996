"""What must hold in the files themselves: one source, unique names, no label written down, links that lead somewhere."""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import model

UID = re.compile(r"[a-z0-9-]{1,40}")
LABELS_OF_PLACES = ("account_id", "region", "command", "target", "execution_id", "job", "instance")
WRITTEN_DOWN = re.compile(rf'\b({"|".join(LABELS_OF_PLACES)})\s*(=~|=|!=|!~)\s*"(?!\$\w+")')
DASHBOARD_LINK = re.compile(r"^/d/(?P<uid>[^/?]+)\?(?P<parameters>.*)$")
UNITS = {"bytes", "dateTimeAsIso", "none", "percentunit", "reqps", "s", "short"}


def faults(options):
    boards = model.load(options.grafana)
    found = [] if len(boards) == 4 else [f"{len(boards)} dashboards in place of 4"]
    found += _generated(options.grafana)
    uids = collections.Counter(board["uid"] for board in boards.values())
    titles = collections.Counter(board["title"] for board in boards.values())
    found += [f"{what} is used {count} times" for what, count in (uids + titles).items() if count > 1]
    for name, board in boards.items():
        found += [f"{name}: {fault}" for fault in _board(board, boards)]
    found += _provisioning(options.grafana, boards)
    print(f"  {len(boards)} dashboards, {sum(len(list(model.panels(board))) for board in boards.values())} panels")
    return found


def _generated(folder):
    """The files are what their source makes."""
    with tempfile.TemporaryDirectory() as fresh:
        subprocess.run([sys.executable, folder / "generate.py", fresh], check=True, timeout=60)
        made = {path.name: path.read_text() for path in pathlib.Path(fresh).iterdir()}
    there = {path.name: path.read_text() for path in (folder / "dashboards").iterdir()}
    return [
        f"{name} is not what generate.py makes; run it" for name in sorted(made.keys() | there.keys())
        if made.get(name) != there.get(name)
    ]


def _board(board, boards):
    if not UID.fullmatch(board["uid"]):
        yield f"uid {board['uid']!r}"
    if not board["description"] or not board["tags"] or board["id"] is not None:
        yield "needs a description, tags, and an id of null"
    ids = collections.Counter(panel["id"] for panel in board["panels"])
    yield from (f"panel id {number} is used {count} times" for number, count in ids.items() if count > 1)
    yield from _overlaps(board)
    for panel in model.panels(board):
        yield from (f"panel {panel['title']!r}: {fault}" for fault in _panel(panel))
    names = collections.Counter(variable["name"] for variable in board["templating"]["list"])
    yield from (f"variable {name} is there {count} times" for name, count in names.items() if count > 1)
    for thing in [*board["templating"]["list"], *model.annotations(board)]:
        if "expr" in thing or thing.get("type") == "query":
            yield from (f"{thing['name']}: {fault}" for fault in _datasource(thing))
            yield from _written_down(thing["name"], thing.get("expr") or thing["query"]["query"])
    yield from _unused(board)
    yield from _links(board, boards)


def _panel(panel):
    if len(panel.get("description", "")) < 8:
        yield "has no description"
    if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
        yield f"unit {panel['fieldConfig']['defaults'].get('unit')!r}"
    yield from _datasource(panel)
    if not panel["targets"]:
        yield "has no query"
    letters = [target["refId"] for target in panel["targets"]]
    if len(set(letters)) != len(letters):
        yield f"refIds {letters}"
    for target in panel["targets"]:
        yield from _datasource(target)
        yield from _written_down("query", target["expr"])
        if target["instant"] == target["range"]:
            yield "a query is either instant or over a range"


def _datasource(thing):
    if thing.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
        yield f"datasource {thing.get('datasource')}"


def _written_down(name, expr):
    for found in WRITTEN_DOWN.finditer(expr):
        yield f"{name}: the label is written down in {expr[found.start():found.start() + 60]!r}"


def _overlaps(board):
    taken = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"{panel['title']!r} is wider than the dashboard"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (other := taken.setdefault((x, y), panel["title"])) != panel["title"]:
                    yield f"{panel['title']!r} lies over {other!r}"
                    return


def _unused(board):
    """Every variable is asked for somewhere, and whatever is asked for exists."""
    places = [target["expr"] for panel in model.panels(board) for target in panel["targets"]]
    places += [annotation["expr"] for annotation in model.annotations(board)]
    places += [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    places += [link["url"] for link in board["links"]]
    asked = {found["braced"] or found["bare"] for place in places for found in model.PLACE.finditer(place)}
    known = set(model.variables(board))
    yield from (f"nothing asks for the variable {name}" for name in sorted(known - asked - {"datasource"}))
    yield from (f"there is no variable {name}" for name in sorted(asked - known - set(model.WINDOWS)))


def _links(board, boards):
    by_uid = {other["uid"]: other for other in boards.values()}
    tags = {tag for other in boards.values() for tag in other["tags"]}
    for link in board["links"]:
        if link["type"] == "dashboards" and not set(link["tags"]) <= tags:
            yield f"no dashboard has the tags {link['tags']}"
        if link["type"] == "link" and link["url"] != "${exporter_url}":
            yield f"a link to {link['url']!r}"
    if not {"dashboards", "link"} <= {link["type"] for link in board["links"]}:
        yield "needs links to the other dashboards and to the exporter's page"
    for panel in model.panels(board):
        for link in panel["fieldConfig"]["defaults"].get("links", []):
            target = DASHBOARD_LINK.match(link["url"])
            if not target or target["uid"] not in by_uid:
                yield f"panel {panel['title']!r}: {link['url']!r} leads nowhere"
                continue
            for name in re.findall(r"(?:^|&)var-(\w+)=", target["parameters"]):
                if name not in model.variables(by_uid[target["uid"]]):
                    yield f"panel {panel['title']!r}: {target['uid']} has no variable {name}"


def _provisioning(folder, boards):
    """The few lines that must fit together; Grafana itself reads the rest."""
    sources = (folder / "provisioning/datasources/prometheus.yaml").read_text()
    providers = (folder / "provisioning/dashboards/aws-iot-command.yaml").read_text()
    readme = (folder / "README.md").read_text()
    path = re.search(r"^ {6}path: (\S+)$", providers, re.MULTILINE)
    if not path or path[1] not in readme:
        yield "README.md does not name the folder that the provider reads"
    scraped = re.search(r"^ +scrape_interval: (\w+)$", pathlib.Path("deploy/prometheus/prometheus.yml").read_text(), re.MULTILINE)
    if not scraped or f"timeInterval: {scraped[1]}\n" not in sources:
        yield "timeInterval of the datasource is not Prometheus's scrape interval"
    for board in boards.values():
        if board["uid"] not in readme:
            yield f"README.md does not name {board['uid']}"
