"""Checks compose.yaml as Docker Compose itself reads it: what is mounted exists and is where the programs look for it,
addresses in one file are services of another, nothing is open to the network, and the exporter's arguments run. Also the
configuration of Prometheus that the README gives, with promtool.

Usage: python .ci/packaging/compose.py PROGRAM DOCKER_COMPOSE
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

import manifests

FILES = {"demo": ["compose.yaml"], "aws": ["compose.yaml", "deploy/compose/aws.yaml"]}
README = pathlib.Path("README.md")
PORT = 29479


def rendered(compose, files):
    """As Docker Compose itself understands the files."""
    flags = [flag for file in files for flag in ("--file", str(file))]
    more = {"EXPORTER_CONFIG": "./config/exporter.yaml"}
    done = subprocess.run([compose, *flags, "config", "--format=json"], capture_output=True, text=True, env=os.environ | more, timeout=60)
    if done.returncode != 0 or done.stderr.strip():
        raise SystemExit(f"{files}: {done.stderr}")
    return json.loads(done.stdout)


def mounts(service):
    return {volume["target"]: pathlib.Path(volume["source"]) for volume in service.get("volumes", []) if volume["type"] == "bind"}


def names(project):
    """Every name under which a service is known to the others, with the ports it listens on."""
    found = {}
    for name, service in project["services"].items():
        ports = {port["target"] for port in service.get("ports", [])}
        aliases = [alias for network in service["networks"].values() for alias in (network or {}).get("aliases", [])]
        found |= {alias: ports for alias in [name, *aliases]}
    return found


def address_faults(project, place, address):
    host, _, port = address.partition(":")
    if int(port) not in names(project).get(host, set()):
        yield f"{place}: nobody is {address}"


def mounted(service, target):
    """The file on this side of the container's path."""
    for place, source in mounts(service).items():
        if target == place or target.startswith(f"{place}/"):
            return source / target[len(place) :].lstrip("/")
    return pathlib.Path("/nonexistent")


def project_faults(project, demo):
    services = project["services"]
    if set(services) != {"exporter", "prometheus", "alertmanager", "grafana"}:
        yield f"services: {sorted(services)}"
        return
    for name, service in services.items():
        for target, source in mounts(service).items():
            if not source.exists():
                yield f"{name}: {source} is mounted at {target}, and is not there"
        for port in service["ports"]:
            if port.get("host_ip") != "127.0.0.1":
                yield f"{name}: port {port['target']} is open to the network"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name}: not hardened"
        if not re.search(r":v?[0-9]+\.|:local$", service["image"]):
            yield f"{name}: image without a version: {service['image']}"
    command = services["exporter"]["command"]
    if (command[0] == "demo") != demo:
        yield f"exporter: {command}"
    for argument in command:
        if argument.startswith("--config.file=") and not mounted(services["exporter"], argument.partition("=")[2]).is_file():
            yield f"exporter: no {argument}"
    if services["exporter"]["build"]["dockerfile"] != "Dockerfile":
        yield "exporter: built from another Dockerfile"
    yield from prometheus_faults(project)
    yield from grafana_faults(project)
    [config] = [argument.partition("=")[2] for argument in services["alertmanager"]["command"] if argument.startswith("--config.file=")]
    if not mounted(services["alertmanager"], config).is_file():
        yield f"alertmanager: no {config}"


def prometheus_faults(project):
    service = project["services"]["prometheus"]
    [path] = [argument.partition("=")[2] for argument in service["command"] if argument.startswith("--config.file=")]
    file = mounted(service, path)
    if not file.is_file():
        yield f"prometheus: no {path}"
        return
    config = yaml.safe_load(file.read_text())
    for pattern in config["rule_files"]:
        folder = mounted(service, str(pathlib.PurePosixPath(path).parent / pathlib.PurePosixPath(pattern).parent))
        if not list(folder.glob(pathlib.PurePosixPath(pattern).name)):
            yield f"prometheus: no rules at {pattern}"
    for job in config["scrape_configs"]:
        for item in job["static_configs"]:
            for address in item["targets"]:
                yield from address_faults(project, "prometheus scrapes", address)
    for item in config["alerting"]["alertmanagers"]:
        for static in item["static_configs"]:
            for address in static["targets"]:
                yield from address_faults(project, "prometheus tells", address)


def grafana_faults(project):
    service = project["services"]["grafana"]
    provisioning = mounted(service, "/etc/grafana/provisioning")
    providers = [yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").glob("*.y*ml")]
    paths = [item["options"]["path"] for provider in providers for item in provider["providers"]]
    if not paths:
        yield "grafana: no dashboards are provisioned"
    for path in paths:
        if not list(mounted(service, path).glob("*.json")):
            yield f"grafana: no dashboards at {path}"
    environment = service["environment"]
    if not mounted(service, environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file():
        yield "grafana: no home dashboard"
    sources = [yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").glob("*.y*ml")]
    urls = [item["url"] for source in sources for item in source["datasources"]]
    for url in urls:
        url = re.sub(r"\$(\w+)", lambda found: environment.get(found[1], ""), url)
        yield from address_faults(project, "grafana asks", url.removeprefix("http://"))
    if not urls:
        yield "grafana: no datasource"


def demo_faults(project, program):
    """The arguments of the demo run, and give metrics."""
    command = [argument.replace(":10477", f"127.0.0.1:{PORT}") for argument in project["services"]["exporter"]["command"]]
    process = subprocess.Popen([program, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end, page = time.monotonic() + 30, ""
        while time.monotonic() < end and "aws_iot_command_execution_status{" not in page and process.poll() is None:
            time.sleep(0.3)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
                    page = answer.read().decode()
            except OSError:
                pass
        if "aws_iot_command_execution_status{" not in page:
            yield f"{command} shows no execution"
    finally:
        process.terminate()
        process.wait(timeout=15)


def scrape_faults(readme):
    """The README's configuration of Prometheus."""
    _, _, rest = readme.partition("```yaml\nscrape_configs:")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "prometheus.yml"
        file.write_text("scrape_configs:" + rest.partition("```")[0])
        done = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, timeout=30)
        jobs = manifests.parse(file.read_text())[0]["scrape_configs"] or []
    if done.returncode != 0:
        yield f"promtool: {done.stdout}{done.stderr}"
    if [target for job in jobs for item in job.get("static_configs", []) for target in item["targets"]] != [f"{manifests.NAME}:10477"]:
        yield f"README: does not scrape the Service: {jobs}"


def blind_spots(project):
    for what, change in {
        "a mount of nothing": lambda s: s["alertmanager"]["volumes"][0].update(source="/nonexistent"),
        "an open port": lambda s: s["grafana"]["ports"][0].pop("host_ip"),
        "a writable container": lambda s: s["prometheus"].pop("read_only"),
        "latest": lambda s: s["prometheus"].update(image="docker.io/prom/prometheus:latest"),
        "another name": lambda s: s["exporter"]["networks"]["default"].update(aliases=["exporter-1"]),
        "another place for rules": lambda s: s["prometheus"]["volumes"][1].update(target="/rules"),
        "another place for dashboards": lambda s: s["grafana"]["volumes"][1].update(target="/dashboards"),
        "another datasource": lambda s: s["grafana"]["environment"].update(GRAFANA_PROMETHEUS_URL="http://localhost:9090"),
        "no demo": lambda s: s["exporter"].update(command=["run"]),
    }.items():
        twin = copy.deepcopy(project)
        change(twin["services"])
        if not list(project_faults(twin, True)):
            yield f"project_faults does not see {what}"
    for old, new in [("static_configs", "static_config"), ("10477", "9100")]:
        if not list(scrape_faults(README.read_text().replace(old, new))):
            yield f"scrape_faults does not see {new}"


def main(program, compose):
    found = []
    for name, files in FILES.items():
        project = rendered(compose, files)
        found += [f"{name}: {fault}" for fault in project_faults(project, name == "demo")]
    demo = rendered(compose, FILES["demo"])
    found += [*demo_faults(demo, program), *scrape_faults(README.read_text()), *blind_spots(demo)]
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print("compose.yaml alone and with deploy/compose/aws.yaml; README's scrape_configs; 11 broken copies refused")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
