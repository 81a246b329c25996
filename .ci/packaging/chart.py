"""Lints and renders the chart with every given release of Helm, checks the objects by the same rules as kustomize's,
compares them with those, and asserts what the values mean. Writes what it rendered to OUT for the operator's checks.

Usage: python .ci/packaging/chart.py OUT PROGRAM KUSTOMIZED HELM…    (KUSTOMIZED: the folder kustomize.py wrote)
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import yaml

import manifests
from kustomize import program_faults
from manifests import container_of, of_kind, parse, pod_of, workload

CHART = pathlib.Path("deploy/helm/aws-iot-command-exporter")
BASE = pathlib.Path("deploy/kubernetes/base/exporter.yaml")
ROLE = "arn:aws:iam::123456789012:role/aws-iot-command-exporter"
MONITORED = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
ANNOTATED = {"prometheusAnnotations": {"enabled": True}}
SECRET = {"envFrom": [{"secretRef": {"name": "aws-iot-command-exporter"}}]}
# The values that make of the chart what each overlay is.
SAME = {
    "annotations": ANNOTATED | SECRET,
    "demo": ANNOTATED | {"demo": {"enabled": True}},
    "eks-irsa": MONITORED | {"eks": {"irsaRoleArn": ROLE}},
    "eks-pod-identity": MONITORED | {"eks": {"podIdentity": True}},
    "prometheus-operator": MONITORED | SECRET,
    "sharded": MONITORED | {"eks": {"podIdentity": True}, "shards": 3},
}
CHART_LABELS = ("helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by")


class Helm:
    """One release of Helm."""

    def __init__(self, program):
        self.program = program

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=120)

    def template(self, values, release=manifests.NAME, *flags):
        """The objects, hooks included, or the text of the refusal."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(values, file)
            file.flush()
            done = self.run("template", release, str(CHART), "--namespace=monitoring", f"--values={file.name}", *flags)
        return done.stderr if done.returncode != 0 else parse(done.stdout)


def split(objects):
    """The release's own objects, and its hooks."""
    hooks = [item for item in objects if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    return [item for item in objects if item not in hooks], hooks


def normal(objects):
    """Objects by kind and name, without what only one of the two ways writes: the chart's labels, empty members, and
    the configuration as text, of which comments and order mean nothing."""
    twins = {}
    for item in copy.deepcopy(objects):
        labels = item["metadata"].get("labels", {})
        for label in CHART_LABELS:
            labels.pop(label, None)
        for key in ("labels", "annotations"):
            if not item["metadata"].get(key):
                item["metadata"].pop(key, None)
        if item["kind"] == "ConfigMap":
            item["data"] = {key: yaml.safe_load(text) for key, text in item["data"].items()}
        twins[item["kind"], item["metadata"]["name"]] = item
    return twins


def differences(ours, theirs, place=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from differences(ours.get(key), theirs.get(key), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (mine, yours) in enumerate(zip(ours, theirs)):
            yield from differences(mine, yours, f"{place}[{at}]")
    elif ours != theirs:
        yield f"{place}: {ours!r} in place of {theirs!r}"


def same_faults(helm, kustomized, out):
    config = {"config": yaml.safe_load(BASE.read_text())}
    for name, values in SAME.items():
        objects = helm.template(config | values)
        if isinstance(objects, str):
            yield f"{name}: {objects}"
            continue
        (out / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        mine, hooks = split(objects)
        overlay = parse((kustomized / f"{name}.yaml").read_text())
        yield from (f"{name}: {fault}" for fault in differences(normal(mine), normal(overlay)))
        yield from (f"{name}: {fault}" for fault in manifests.faults(mine))
        yield from (f"{name}: hook: {fault}" for fault in hook_faults(hooks, mine))


def hook_faults(hooks, objects):
    """The test's pod is as restricted as the exporter's own, and allowed to reach it."""
    yield from manifests.schema_faults(hooks)
    [pod] = of_kind(hooks, "Pod")
    [policy] = of_kind(hooks, "NetworkPolicy")
    labels = pod["metadata"]["labels"]
    if manifests.selects(labels, workload(objects)["spec"]["selector"]):
        yield "the Service would find the test's pod"
    allowed = [source["podSelector"] for rule in policy["spec"]["ingress"] for source in rule["from"]]
    if not any(manifests.selects(labels, selector) for selector in allowed):
        yield "the test's pod may not ask the exporter"
    if not manifests.selects(workload(objects)["spec"]["template"]["metadata"]["labels"], policy["spec"]["podSelector"]):
        yield "the test's policy is about another pod"
    spec = pod["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        if spec["securityContext"] != pod_of(objects)["securityContext"] or container["securityContext"] != container_of(objects)["securityContext"]:
            yield f"{container['name']}: not as restricted as the exporter"
        if container["name"] == "ready":
            service = f"http://{of_kind(objects, 'Service')[0]['metadata']['name']}:10477/-/ready"
            if container["command"][-1] != service:
                yield f"asks {container['command']}"
        elif container["args"] != ["check-config", "/etc/aws-iot-command-exporter/exporter.yaml"]:
            yield f"checks {container['args']}"


def get(objects, path):
    """A member by `Kind/member/0/member`, with `~` for a slash within a name: of the first object of that kind."""
    kind, *members = path.split("/")
    value = next((item for item in objects if item["kind"] == kind), None)
    for member in members:
        if isinstance(value, list):
            value = value[int(member)] if int(member) < len(value) else None
        else:
            value = (value or {}).get(member.replace("~", "/"))
    return value


POD = "Deployment/spec/template/spec"
# Values, what they must make, and with which release's name: one line a test.
UNITS = [
    ({}, "Deployment/metadata/name", "aws-iot-command-exporter"),
    ({"fullnameOverride": "x"}, "Deployment/metadata/name", "x"),
    ({"nameOverride": "x"}, "Deployment/metadata/labels/app.kubernetes.io~name", "x"),
    ({"namespaceOverride": "x"}, "Service/metadata/namespace", "x"),
    ({"commonLabels": {"team": "iot"}}, "NetworkPolicy/metadata/labels/team", "iot"),
    ({"image": {"tag": "1.2.3"}}, f"{POD}/containers/0/image", "registry.example.com/aws-iot-command-exporter:1.2.3"),
    (
        {"image": {"tag": "1.2.3", "digest": "sha256:" + "0" * 64}},
        f"{POD}/containers/0/image",
        "registry.example.com/aws-iot-command-exporter@sha256:" + "0" * 64,
    ),
    ({"imagePullSecrets": [{"name": "x"}]}, f"{POD}/imagePullSecrets/0/name", "x"),
    ({"existingConfigMap": "mine"}, f"{POD}/volumes/0/configMap/name", "mine"),
    ({"existingConfigMap": "mine"}, "ConfigMap", None),
    ({"log": {"level": "debug"}}, f"{POD}/containers/0/args/3", "--log.level=debug"),
    ({"log": {"format": "json"}}, f"{POD}/containers/0/args/3", "--log.format=json"),
    ({"extraArgs": ["--web.enable-lifecycle"]}, f"{POD}/containers/0/args/3", "--web.enable-lifecycle"),
    ({"shards": 4}, "StatefulSet/spec/template/spec/containers/0/args/3", "--shard=$(POD_NAME)/4"),
    ({"shards": 4}, "StatefulSet/spec/replicas", 4),
    ({"shards": 4}, "Deployment", None),
    ({"shards": 4, "env": [{"name": "A", "value": "b"}]}, "StatefulSet/spec/template/spec/containers/0/env/1/name", "A"),
    ({"shards": 4, "podDisruptionBudget": {"maxUnavailable": "50%"}}, "PodDisruptionBudget/spec/maxUnavailable", "50%"),
    ({}, "PodDisruptionBudget", None),
    ({"webConfig": {"existingSecret": "web"}}, f"{POD}/volumes/1/secret/secretName", "web"),
    ({"webConfig": {"existingSecret": "web"}}, f"{POD}/containers/0/livenessProbe/httpGet/port", "health"),
    ({"webConfig": {"existingSecret": "web"}}, f"{POD}/containers/0/ports/1/containerPort", 10478),
    ({"webConfig": {"existingSecret": "web"}}, f"{POD}/containers/0/args/4", "--web.health-listen-address=:10478"),
    ({"serviceAccount": {"create": False, "name": "mine"}}, f"{POD}/serviceAccountName", "mine"),
    ({"serviceAccount": {"create": False}}, "ServiceAccount", None),
    ({"serviceAccount": {"annotations": {"a": "b"}}}, "ServiceAccount/metadata/annotations/a", "b"),
    ({"eks": {"irsaRoleArn": ROLE}}, "ServiceAccount/metadata/annotations/eks.amazonaws.com~role-arn", ROLE),
    ({"eks": {"podIdentity": True}}, "NetworkPolicy/spec/egress/2/to/0/ipBlock/cidr", "169.254.170.23/32"),
    ({"networkPolicy": {"extraEgress": [{"ports": [{"port": 1}]}]}}, "NetworkPolicy/spec/egress/2/ports/0/port", 1),
    ({"service": {"port": 80, "labels": {"a": "b"}}}, "Service/spec/ports/0/port", 80),
    ({"service": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}, "Service/metadata/labels/a", "b"),
    (MONITORED | {"prometheusRule": {"enabled": True, "labels": {"release": "k"}}}, "PrometheusRule/metadata/labels/release", "k"),
    ({"serviceMonitor": {"enabled": True, "labels": {"release": "k"}}}, "ServiceMonitor/metadata/labels/release", "k"),
    ({"serviceMonitor": {"enabled": True, "interval": "60s"}}, "ServiceMonitor/spec/endpoints/0/interval", "60s"),
    ({"serviceMonitor": {"enabled": True, "metricRelabelings": [{"action": "drop"}]}}, "ServiceMonitor/spec/endpoints/0/metricRelabelings/0/action", "drop"),
    ({"podAnnotations": {"a": "b"}} | ANNOTATED, "Deployment/spec/template/metadata/annotations/a", "b"),
    ({"podAnnotations": {"a": "b"}} | ANNOTATED, "Deployment/spec/template/metadata/annotations/prometheus.io~path", "/metrics"),
    ({"podLabels": {"a": "b"}}, "Deployment/spec/template/metadata/labels/a", "b"),
    ({"priorityClassName": "high"}, f"{POD}/priorityClassName", "high"),
    ({"nodeSelector": {"a": "b"}}, f"{POD}/nodeSelector/a", "b"),
    ({"tolerations": [{"key": "a"}]}, f"{POD}/tolerations/0/key", "a"),
    ({"affinity": {"nodeAffinity": {}}}, f"{POD}/affinity", {"nodeAffinity": {}}),
    ({"topologySpreadConstraints": [{"maxSkew": 1}]}, f"{POD}/topologySpreadConstraints/0/maxSkew", 1),
    ({"extraVolumes": [{"name": "x", "emptyDir": {}}]}, f"{POD}/volumes/1/name", "x"),
    ({"extraVolumeMounts": [{"name": "x", "mountPath": "/x"}]}, f"{POD}/containers/0/volumeMounts/1/mountPath", "/x"),
    ({"resources": {"limits": {"memory": "1Gi"}}}, f"{POD}/containers/0/resources/limits/memory", "1Gi"),
    ({"tests": {"image": "mirror/busybox:1"}}, "Pod/spec/containers/0/image", "mirror/busybox:1"),
]

# Values that must be refused, and a word of the reason.
REFUSED = [
    ({"replicas": 2}, "replicas"),
    ({"image": {"registry": "x"}}, "registry"),
    ({"shards": 0}, "shards"),
    ({"shards": "2"}, "shards"),
    ({"config": {"pol": {}}}, "pol"),
    ({"config": {"accounts": {"1": {}}}}, "{12}"),
    ({"config": {"executions": [{"target_arn": "arn:aws:iot:x"}]}}, "execution_id"),
    ({"eks": {"irsaRoleArn": "role/x"}}, "irsaRoleArn"),
    ({"eks": {"irsaRoleArn": ROLE, "podIdentity": True}}, "one of the two"),
    ({"eks": {"irsaRoleArn": ROLE}, "serviceAccount": {"create": False}}, "annotate"),
    (MONITORED | ANNOTATED, "twice"),
    ({"demo": {"enabled": True}, "shards": 2}, "fleet of its own"),
    ({"serviceMonitor": {"enabled": True}, "webConfig": {"existingSecret": "web"}}, "to be let in"),
    ({"networkPolicy": {"from": []}}, "from"),
    ({"terminationGracePeriodSeconds": 5}, "terminationGracePeriodSeconds"),
    ({"log": {"level": "loud"}}, "level"),
]


def unit_faults(helm):
    for values, path, wanted in UNITS:
        objects = helm.template(values)
        found = objects if isinstance(objects, str) else get(objects, path)
        if found != wanted:
            yield f"{json.dumps(values)}: {path} is {found!r} in place of {wanted!r}"
    for values, reason in REFUSED:
        text = helm.template(values)
        if not isinstance(text, str) or reason not in text:
            yield f"{json.dumps(values)}: not refused for {reason!r}, but {str(text)[:300]}"


def names_faults(helm):
    """A long name of a release leaves room for what Kubernetes adds to a StatefulSet's pods."""
    objects = helm.template({"shards": 2}, "r" * 53)
    if isinstance(objects, str) or any(len(item["metadata"]["name"]) > 59 for item in objects):
        yield f"a long name: {objects if isinstance(objects, str) else [item['metadata']['name'] for item in objects]}"
    objects = helm.template({}, "prod")
    if isinstance(objects, str) or objects[0]["metadata"]["name"] != "prod-aws-iot-command-exporter":
        yield f"a short name: {objects[0] if isinstance(objects, list) else objects}"


def config_faults(helm, program):
    """Every example goes through the values unharmed: account IDs stay texts, large numbers stay whole."""
    examples = {file.name: yaml.safe_load(file.read_text()) for file in sorted(pathlib.Path("config").glob("*.yaml"))}
    examples["large numbers"] = {"limits": {"executions": 9876543}}
    for name, config in examples.items():
        objects = helm.template({"config": config})
        if isinstance(objects, str):
            yield f"{name}: {objects}"
            continue
        text = get(objects, "ConfigMap")["data"]["exporter.yaml"]
        yield from (f"{name}: {fault}" for fault in program_faults(objects, program))
        rendered = yaml.safe_load(text)
        yield from (f"{name}: {fault}" for fault in differences({k: rendered.get(k) for k in config}, merged(config)))
    schema = json.loads(subprocess.run([program, "config-schema"], capture_output=True, text=True, check=True).stdout)
    values = json.loads((CHART / "values.schema.json").read_text())
    if set(values["properties"]["config"]["properties"]) != set(schema["properties"]):
        yield f"values.schema.json: config has other keys than {sorted(schema['properties'])}"


def merged(config):
    """Helm lays the given maps over the defaults."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["config"]

    def lay(over, under):
        if isinstance(over, dict) and isinstance(under, dict):
            return under | {key: lay(value, under.get(key)) for key, value in over.items()}
        return over

    return {key: lay(value, defaults.get(key)) for key, value in config.items()}


def lint_faults(helm):
    for values in [{}, *SAME.values()]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(values, file)
            file.flush()
            done = helm.run("lint", "--strict", str(CHART), f"--values={file.name}")
        if done.returncode != 0 or "[WARNING]" in done.stdout + done.stderr:
            yield f"lint: {done.stdout}{done.stderr}"
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    yield from untold(defaults, schema, "values")
    readme = (CHART / "README.md").read_text()
    yield from (f"README.md does not tell of {key}" for key in defaults if f"`{key}" not in readme)


def untold(values, schema, place):
    """Keys of values.yaml without a schema, and the other way round."""
    properties = schema.get("properties")
    if not isinstance(values, dict) or properties is None or place == "values.config":
        return
    optional = {"global", "claims", "successThreshold", "initialDelaySeconds"}
    for key in set(values) ^ set(properties) - optional:
        yield f"{place}.{key}: in one of values.yaml and values.schema.json"
    for key in set(values) & set(properties):
        yield from untold(values[key], properties[key], f"{place}.{key}")


def notes_faults(helm):
    """NOTES.txt says what is missing, and nothing else."""
    for values, wanted in [
        ({}, ["Nothing is polled yet", "No credentials are set", "Nothing tells Prometheus"]),
        ({"demo": {"enabled": True}} | ANNOTATED, ["simulated"]),
        ({"config": {"executions": [{"target_arn": "arn:aws:iot:x", "execution_id": "y"}]}} | SAME["eks-pod-identity"], ["create-pod-identity-association"]),
        ({"nameOverride": "x"}, ["makes it x"]),
    ]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(values, file)
            file.flush()
            done = helm.run("install", manifests.NAME, str(CHART), "--namespace=monitoring", "--dry-run=client", f"--values={file.name}")
        notes = done.stdout.partition("NOTES:")[2]
        if done.returncode != 0 or not notes:
            yield f"NOTES: {done.stderr}{done.stdout[-500:]}"
        yield from (f"NOTES: {text!r} is not there for {values}" for text in wanted if text not in notes)
        if "demo" in values and "No credentials" in notes:
            yield "NOTES: a demo needs no credentials"


def blind_spots(helm, kustomized):
    """The comparison must be able to fail."""
    overlay = parse((kustomized / "eks-irsa.yaml").read_text())
    for change in [
        lambda twins: twins.pop(),
        lambda twins: container_of(twins)["args"].append("--x"),
        lambda twins: of_kind(twins, "PrometheusRule")[0]["spec"]["groups"].pop(),
    ]:
        twins = copy.deepcopy(overlay)
        change(twins)
        if not list(differences(normal(twins), normal(overlay))):
            yield "differences sees none"


def main(out, program, kustomized, *programs):
    out, kustomized = pathlib.Path(out), pathlib.Path(kustomized)
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for at, path in enumerate(programs):
        helm = Helm(path)
        checks = [same_faults(helm, kustomized, out), lint_faults(helm)]
        # Helm 3 asks a cluster before it shows the notes.
        if at == len(programs) - 1:
            checks += [notes_faults(helm), unit_faults(helm), names_faults(helm), config_faults(helm, program), blind_spots(helm, kustomized)]
        version = helm.run("version", "--short").stdout.strip()
        found += [f"{version}: {fault}" for check in checks for fault in check]
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        return 1
    versions = ", ".join(Helm(path).run("version", "--short").stdout.strip() for path in programs)
    print(f"{len(SAME)} overlays equal; {len(UNITS)} unit tests, {len(REFUSED)} refusals; Helm {versions}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
