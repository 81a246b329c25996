"""Renders every overlay of deploy/kubernetes with two releases of kubectl and checks the objects; the configuration in
them is read by the program itself. Every rule is also tried on broken copies, so that one which can no longer fail is
found out. Writes what it rendered to OUT, one file an overlay.

Usage: python .ci/packaging/kustomize.py OUT PROGRAM KUBECTL…
"""

import copy
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

import manifests
from manifests import container_of, of_kind, parse, pod_of, workload

ROOT = pathlib.Path("deploy/kubernetes")
# What each overlay is for, in the words of its own objects.
KINDS = {"ServiceAccount", "ConfigMap", "Service", "NetworkPolicy"}
OPERATOR = {"ServiceMonitor", "PrometheusRule"}
OVERLAYS = {
    "annotations": KINDS | {"Deployment"},
    "demo": KINDS | {"Deployment"},
    "eks-irsa": KINDS | {"Deployment"} | OPERATOR,
    "eks-pod-identity": KINDS | {"Deployment"} | OPERATOR,
    "prometheus-operator": KINDS | {"Deployment"} | OPERATOR,
    "sharded": KINDS | {"StatefulSet", "PodDisruptionBudget"} | OPERATOR,
}


def render(kubectl, folder):
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or done.stderr.strip():
        raise SystemExit(f"{folder}: {done.stderr}")
    return done.stdout


def overlay_faults(name, objects):
    """What makes an overlay the one that it is."""
    if {item["kind"] for item in objects} != OVERLAYS[name]:
        yield f"kinds: {sorted(item['kind'] for item in objects)}"
    annotations = of_kind(objects, "ServiceAccount")[0]["metadata"].get("annotations", {})
    role = annotations.get("eks.amazonaws.com/role-arn", "")
    if role.startswith("arn:aws:iam::") != (name == "eks-irsa"):
        yield f"role for IRSA: {role!r}"
    agent = "169.254.170.23/32" in str(of_kind(objects, "NetworkPolicy"))
    if agent != (name in ("eks-pod-identity", "sharded")):
        yield f"the agent of Pod Identity can be asked: {agent}"
    secret = [source["secretRef"]["name"] for source in container_of(objects).get("envFrom", [])]
    if secret != ([manifests.NAME] if name in ("annotations", "prometheus-operator") else []):
        yield f"Secrets: {secret}"
    if manifests.is_demo(objects) != (name == "demo"):
        yield "demo or not"


def program_faults(objects, program):
    """The configuration, as the program itself sees it."""
    [config] = of_kind(objects, "ConfigMap")
    for key, text in config["data"].items():
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / key
            file.write_text(text)
            done = subprocess.run([program, "check-config", file], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            yield f"check-config exits with {done.returncode}: {done.stdout}{done.stderr}"


def broken(objects, change):
    """A copy with one fault. The change gets the objects by kind, the pod and its container."""
    twins = copy.deepcopy(objects)
    kinds = {item["kind"]: item for item in reversed(twins)}
    first = list(kinds.values())
    change(kinds, pod_of(twins), container_of(twins))
    popped = [item for item in first if not any(item is left for left in kinds.values())]
    return [item for item in twins if not any(item is gone for gone in popped)]


SINGLE = {
    manifests.schema_faults: {
        "an unknown key": lambda k, pod, c: pod.update(terminationGracePeriodsSeconds=1),
        "an unknown kind": lambda k, pod, c: k["Service"].update(kind="Servise"),
        "a wrong type": lambda k, pod, c: pod.update(terminationGracePeriodSeconds="30s"),
    },
    manifests.reference_faults: {
        "no NetworkPolicy": lambda k, pod, c: k.pop("NetworkPolicy"),
        "another namespace": lambda k, pod, c: k["Service"]["metadata"].update(namespace="default"),
        "no namespace": lambda k, pod, c: k["ServiceMonitor"]["metadata"].pop("namespace"),
        "a selector that misses": lambda k, pod, c: k["Service"]["spec"].update(selector={"app": "x"}),
        "a policy for every pod": lambda k, pod, c: k["NetworkPolicy"]["spec"].update(podSelector={}),
        "a policy for any caller": lambda k, pod, c: k["NetworkPolicy"]["spec"]["ingress"][0].pop("from"),
        "a policy one way": lambda k, pod, c: k["NetworkPolicy"]["spec"].update(policyTypes=["Ingress"]),
        "every port open": lambda k, pod, c: k["NetworkPolicy"]["spec"]["egress"][1].pop("ports"),
        "no names": lambda k, pod, c: k["NetworkPolicy"]["spec"]["egress"].pop(0),
        "plain HTTP": lambda k, pod, c: k["NetworkPolicy"]["spec"]["egress"][1]["ports"].append({"port": 80}),
        "a port that is not there": lambda k, pod, c: k["Service"]["spec"]["ports"][0].update(targetPort="metrics"),
        "another ServiceAccount": lambda k, pod, c: pod.update(serviceAccountName="default"),
    },
    manifests.scrape_faults: {
        "annotations as well": lambda k, pod, c: k["Deployment"]["spec"]["template"]["metadata"].update(
            annotations={"prometheus.io/scrape": "true"}
        ),
        "a monitor that finds nothing": lambda k, pod, c: k["ServiceMonitor"]["spec"].update(selector={}),
        "another job": lambda k, pod, c: k["ServiceMonitor"]["spec"].update(jobLabel="app"),
        "another port": lambda k, pod, c: k["ServiceMonitor"]["spec"]["endpoints"][0].update(port="metrics"),
        "a long timeout": lambda k, pod, c: k["ServiceMonitor"]["spec"]["endpoints"][0].update(scrapeTimeout="31s"),
        "no rules": lambda k, pod, c: k.pop("PrometheusRule"),
    },
    manifests.replica_faults: {
        "two replicas": lambda k, pod, c: k["Deployment"]["spec"].update(replicas=2),
        "a rolling update": lambda k, pod, c: k["Deployment"]["spec"].update(strategy={"type": "RollingUpdate"}),
        "a shard of a Deployment": lambda k, pod, c: c["args"].append("--shard=0/2"),
    },
    manifests.pod_faults: {
        "a token": lambda k, pod, c: pod.pop("automountServiceAccountToken"),
        "a token of the account": lambda k, pod, c: k["ServiceAccount"].pop("automountServiceAccountToken"),
        "a short grace": lambda k, pod, c: pod.update(terminationGracePeriodSeconds=10),
        "no startup probe": lambda k, pod, c: c.pop("startupProbe"),
        "a probe of /metrics": lambda k, pod, c: c["livenessProbe"]["httpGet"].update(path="/metrics"),
        "root": lambda k, pod, c: pod["securityContext"].update(runAsUser=0),
        "no seccomp": lambda k, pod, c: pod["securityContext"].pop("seccompProfile"),
        "escalation": lambda k, pod, c: c["securityContext"].pop("allowPrivilegeEscalation"),
        "a capability": lambda k, pod, c: c["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        "a writable root": lambda k, pod, c: c["securityContext"].pop("readOnlyRootFilesystem"),
        "the node's network": lambda k, pod, c: pod.update(hostNetwork=True),
        "the node's files": lambda k, pod, c: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "the node's port": lambda k, pod, c: c["ports"][0].update(hostPort=80),
        "a CPU limit": lambda k, pod, c: c["resources"]["limits"].update(cpu="1"),
    },
    manifests.config_faults: {
        "another ConfigMap": lambda k, pod, c: pod["volumes"][0]["configMap"].update(name="x"),
        "a subPath": lambda k, pod, c: c["volumeMounts"][0].update(subPath="exporter.yaml"),
        "chosen items": lambda k, pod, c: pod["volumes"][0]["configMap"].update(items=[]),
        "writable": lambda k, pod, c: c["volumeMounts"][0].pop("readOnly"),
        "immutable": lambda k, pod, c: k["ConfigMap"].update(immutable=True),
        "a checksum": lambda k, pod, c: k["Deployment"]["spec"]["template"]["metadata"].update(
            annotations={"checksum/config": "0"}
        ),
        "another file": lambda k, pod, c: c.update(args=["run", "--config.file=/etc/x.yaml"]),
    },
}

SHARDED = {
    manifests.replica_faults: {
        "another count": lambda k, pod, c: k["StatefulSet"]["spec"].update(replicas=4),
        "no name of the pod": lambda k, pod, c: c.pop("env"),
        "another Service": lambda k, pod, c: k["StatefulSet"]["spec"].update(serviceName="x"),
        "one after another": lambda k, pod, c: k["StatefulSet"]["spec"].pop("podManagementPolicy"),
        "no budget": lambda k, pod, c: k.pop("PodDisruptionBudget"),
    },
}


def blind_spots(rendered):
    """Broken copies that the rule for them takes for good."""
    for name, table in [("eks-irsa", SINGLE), ("sharded", SHARDED)]:
        for rule, changes in table.items():
            for what, change in changes.items():
                if not list(rule(broken(rendered[name], change))):
                    yield f"{rule.__name__} does not see {what}"
    twin = copy.deepcopy(rendered["annotations"])
    workload(twin)["spec"]["template"]["metadata"].pop("annotations")
    if not list(manifests.scrape_faults(twin)):
        yield "scrape_faults does not see that nothing finds the pod"
    for name in OVERLAYS:
        other = "demo" if name != "demo" else "annotations"
        if not list(overlay_faults(name, rendered[other])):
            yield f"overlay_faults takes {other} for {name}"
    for text in ["a: 1\na: 2\n", "a: [\n"]:
        try:
            parse(text)
            yield f"YAML: does not refuse {text!r}"
        except yaml.YAMLError:
            pass


def lost_namespace(kubectl):
    """An overlay without its namespace must be seen, since the base has none either."""
    with tempfile.TemporaryDirectory() as folder:
        twin = pathlib.Path(folder) / "kubernetes"
        shutil.copytree(ROOT, twin)
        file = twin / "overlays/eks-irsa/kustomization.yaml"
        file.write_text(file.read_text().replace("namespace: monitoring\n", ""))
        if not list(manifests.reference_faults(parse(render(kubectl, file.parent)))):
            yield "reference_faults does not see an overlay without a namespace"


def main(out, program, *kubectls):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if {folder.name for folder in (ROOT / "overlays").iterdir()} != set(OVERLAYS):
        raise SystemExit("deploy/kubernetes/overlays holds other overlays than this check knows")
    rendered, found = {}, []
    for name in OVERLAYS:
        texts = [render(kubectl, ROOT / "overlays" / name) for kubectl in kubectls]
        rendered[name] = parse(texts[0])
        if any(parse(text) != rendered[name] for text in texts):
            found.append(f"{name}: the releases of kubectl render different objects")
        (out / f"{name}.yaml").write_text(texts[0])
        faults = [*manifests.faults(rendered[name]), *overlay_faults(name, rendered[name])]
        found += [f"{name}: {fault}" for fault in [*faults, *program_faults(rendered[name], program)]]
    if not found:
        found = [*blind_spots(rendered), *lost_namespace(kubectls[0])]
        twin = copy.deepcopy(rendered["demo"])
        of_kind(twin, "ConfigMap")[0]["data"]["exporter.yaml"] += "more: 1\n"
        if not list(program_faults(twin, program)):
            found.append("program_faults does not see an unknown key")
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        return 1
    tries = sum(len(changes) for table in [SINGLE, SHARDED] for changes in table.values())
    objects = sum(map(len, rendered.values()))
    print(f"{len(rendered)} overlays, {objects} objects, Kubernetes {', '.join(manifests.RELEASES)}; {tries} broken copies refused")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
