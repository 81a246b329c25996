"""Checks deploy/: the manifests against the schemas of several Kubernetes releases and against what the schemas do
not say, the configuration inside the ConfigMap with the program itself, and the IAM policy. Also the configuration of
Prometheus that the README gives, with promtool.

Usage: python .ci/deploy.py target/debug/aws-iot-command-exporter

Every rule is also tried on a broken copy, so that a rule which can no longer fail is found out.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import parliament
import yaml

RELEASES = ["1.25", "1.29", "1.31", "1.33", "1.35", "1.37"]
MANIFEST = pathlib.Path("deploy/kubernetes/exporter.yaml")
POLICY = pathlib.Path("deploy/iam/policy.json")
README = pathlib.Path("README.md")
NAME = "aws-iot-command-exporter"
DRAIN_SECONDS = 10


class UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is an error, as it is to the API server's strict decoding."""


def _mapping(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse(text):
    return [item for item in yaml.load_all(text, Loader=UniqueKeys) if item]


def schema_faults(objects):
    """What the API server would refuse. Unlike the command line of kubernetes-validate, an unknown kind is a fault."""
    for item in objects:
        for release in RELEASES:
            try:
                checked = kubernetes_validate.validate(item, release, strict=True)
                if checked != release:
                    yield f"{item['kind']}: checked against {checked} in place of {release}"
            except kubernetes_validate.ValidationError as fault:
                yield f"{item['kind']}, {release}: {'.'.join(map(str, fault.path))}: {fault.message}"
            except kubernetes_validate.SchemaNotFoundError as fault:
                yield fault.message


def manifest_faults(objects):
    """What no schema says: references that must meet, and the restricted profile."""
    by_kind = {item["kind"]: item for item in objects}
    if sorted(by_kind) != ["ConfigMap", "Deployment", "Service", "ServiceAccount"] or len(objects) != len(by_kind):
        yield f"kinds: {[item['kind'] for item in objects]}"
        return
    for item in objects:
        if item["metadata"]["name"] != NAME or "namespace" in item["metadata"]:
            yield f"{item['kind']}: the name is {NAME}, and the namespace is the reader's choice"
    spec = by_kind["Deployment"]["spec"]
    template, pod = spec["template"], spec["template"]["spec"]
    [container] = pod["containers"]

    labels = template["metadata"]["labels"]
    for place, selector in {
        "Deployment": spec["selector"]["matchLabels"],
        "Service": by_kind["Service"]["spec"]["selector"],
    }.items():
        if not selector or any(labels.get(key) != value for key, value in selector.items()):
            yield f"{place}: the selector does not find the pod"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in by_kind["Service"]["spec"]["ports"]:
        if port["targetPort"] not in ports:
            yield f"Service: no port {port['targetPort']} in the pod"
    if spec["replicas"] != 1 or spec["strategy"]["type"] != "Recreate":
        yield "Deployment: two pods would share one quota"
    if pod["serviceAccountName"] != by_kind["ServiceAccount"]["metadata"]["name"]:
        yield "Deployment: not this ServiceAccount"
    role = by_kind["ServiceAccount"]["metadata"]["annotations"].get("eks.amazonaws.com/role-arn", "")
    if not role.startswith("arn:aws:iam::"):
        yield "ServiceAccount: no role for IRSA"
    if pod.get("automountServiceAccountToken") is not False:
        yield "Deployment: a token for the Kubernetes API, which is never called"

    if pod["terminationGracePeriodSeconds"] < 2 * DRAIN_SECONDS:
        yield f"Deployment: the program drains for up to {DRAIN_SECONDS} s, and then some"
    for probe, path in {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    }.items():
        get = container.get(probe, {}).get("httpGet", {})
        if get.get("path") != path or get.get("port") not in ports:
            yield f"Deployment: {probe} does not ask {path}"

    of_pod, of_container = pod.get("securityContext", {}), container.get("securityContext", {})
    if of_pod.get("runAsNonRoot") is not True or of_pod.get("runAsUser") != 65532:
        yield "restricted: runs as root"
    if of_pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "restricted: no seccomp profile"
    if of_container.get("allowPrivilegeEscalation") is not False:
        yield "restricted: may gain privileges"
    if of_container.get("capabilities") != {"drop": ["ALL"]}:
        yield "restricted: keeps capabilities"
    if of_container.get("readOnlyRootFilesystem") is not True:
        yield "the root file system can be written to"
    if of_container.get("privileged") or any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "restricted: shares the node's namespaces"
    limits = container["resources"].get("limits", {})
    if "cpu" in limits or "memory" not in limits or set(container["resources"]["requests"]) != {"cpu", "memory"}:
        yield "resources: requests for both, a limit for memory alone"

    [volume] = [volume for volume in pod["volumes"] if "configMap" in volume]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
    if volume["configMap"]["name"] != by_kind["ConfigMap"]["metadata"]["name"]:
        yield "Deployment: not this ConfigMap"
    if "subPath" in mount or "items" in volume["configMap"]:
        yield "Deployment: a file mounted alone never sees a change of the ConfigMap"
    files = [f"{mount['mountPath']}/{key}" for key in by_kind["ConfigMap"]["data"]]
    if not any(f"--config.file={file}" in container["args"] for file in files):
        yield f"Deployment: --config.file names none of {files}"


def config_faults(objects, program):
    """The configuration, as the program itself sees it."""
    [config] = [item for item in objects if item["kind"] == "ConfigMap"]
    for key, text in config["data"].items():
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / key
            file.write_text(text)
            done = subprocess.run([program, "check-config", file], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            yield f"check-config exits with {done.returncode}: {done.stdout}{done.stderr}"


def scrape_faults(readme):
    """The README's configuration of Prometheus."""
    _, _, rest = readme.partition("```yaml\nscrape_configs:")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "prometheus.yml"
        file.write_text("scrape_configs:" + rest.partition("```")[0])
        done = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, timeout=30)
        jobs = parse(file.read_text())[0]["scrape_configs"] or []
    if done.returncode != 0:
        yield f"promtool: {done.stdout}{done.stderr}"
    if [target for job in jobs for item in job.get("static_configs", []) for target in item["targets"]] != [f"{NAME}:10477"]:
        yield f"README: does not scrape the Service: {jobs}"


def policy_faults(policy):
    """What AWS's own list of actions says, and the least that the program needs."""
    for finding in parliament.analyze_policy_string(json.dumps(policy)).findings:
        yield f"parliament: {finding}"
    arn = "arn:aws:iot:eu-central-1:123456789012:"
    executions = [f"{arn}thing/*", f"{arn}client/*", f"{arn}command/*"]
    wanted = {
        "iot:GetCommandExecution": executions,
        "iot:ListCommandExecutions": executions,
        "iot:ListCommands": "*",
    }
    granted = {}
    for statement in policy["Statement"]:
        if set(statement) != {"Sid", "Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
            yield f"not a plain Allow: {statement}"
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            granted[action] = statement["Resource"]
    if granted != wanted:
        yield f"grants {granted} in place of {wanted}"


def broken_manifests(objects):
    """Copies with one fault each, with the rules that must see it."""

    def broken(change):
        twin = {item["kind"]: item for item in copy.deepcopy(objects)}
        change(twin, twin["Deployment"]["spec"]["template"]["spec"])
        return list(twin.values())

    def pod(change):
        return broken(lambda _, pod: change(pod, pod["containers"][0]))

    yield schema_faults, "an unknown key", pod(lambda pod, _: pod.update(terminationGracePeriodsSeconds=1))
    yield schema_faults, "an unknown kind", broken(lambda kinds, _: kinds["Service"].update(kind="Servise"))
    yield schema_faults, "a wrong type", pod(lambda pod, _: pod.update(terminationGracePeriodSeconds="30s"))
    for name, change in {
        "no Service": lambda kinds, _: kinds.pop("Service"),
        "a namespace": lambda kinds, _: kinds["Service"]["metadata"].update(namespace="default"),
        "a selector that misses": lambda kinds, _: kinds["Service"]["spec"].update(selector={"app": "x"}),
        "a port that is not there": lambda kinds, _: kinds["Service"]["spec"]["ports"][0].update(targetPort="metrics"),
        "two replicas": lambda kinds, _: kinds["Deployment"]["spec"].update(replicas=2),
        "another ServiceAccount": lambda _, pod: pod.update(serviceAccountName="default"),
        "no role": lambda kinds, _: kinds["ServiceAccount"]["metadata"].update(annotations={}),
        "a token": lambda _, pod: pod.pop("automountServiceAccountToken"),
        "another ConfigMap": lambda _, pod: pod["volumes"][0]["configMap"].update(name="x"),
    }.items():
        yield manifest_faults, name, broken(change)
    for name, change in {
        "a short grace": lambda pod, _: pod.update(terminationGracePeriodSeconds=10),
        "no startup probe": lambda _, container: container.pop("startupProbe"),
        "a probe of /metrics": lambda _, container: container["livenessProbe"]["httpGet"].update(path="/metrics"),
        "root": lambda pod, _: pod["securityContext"].update(runAsUser=0),
        "no seccomp": lambda pod, _: pod["securityContext"].pop("seccompProfile"),
        "escalation": lambda _, container: container["securityContext"].pop("allowPrivilegeEscalation"),
        "a capability": lambda _, container: container["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        "a writable root": lambda _, container: container["securityContext"].pop("readOnlyRootFilesystem"),
        "the node's network": lambda pod, _: pod.update(hostNetwork=True),
        "a CPU limit": lambda _, container: container["resources"]["limits"].update(cpu="1"),
        "a subPath": lambda _, container: container["volumeMounts"][0].update(subPath="exporter.yaml"),
        "another file": lambda _, container: container.update(args=["run", "--config.file=/etc/x.yaml"]),
    }.items():
        yield manifest_faults, name, pod(change)


def broken_policies(policy):
    for name, change in {
        "an action that does not exist": lambda s: s[0].update(Action="iot:GetCommandExecutions"),
        "too much": lambda s: s[0].update(Resource="*"),
        "too little": lambda s: s[1]["Resource"].pop(),
        "a resource that ListCommands does not know": lambda s: s[2].update(Resource=s[0]["Resource"]),
        "a wildcard": lambda s: s[0].update(Action="iot:*"),
        "a denial": lambda s: s[0].update(Effect="Deny"),
        "one more action": lambda s: s.append({**s[2], "Sid": "More", "Action": "iot:ListThings"}),
    }.items():
        twin = copy.deepcopy(policy)
        change(twin["Statement"])
        yield name, twin


def main(program):
    objects = parse(MANIFEST.read_text())
    policy = json.loads(POLICY.read_text())
    faults = [*schema_faults(objects), *manifest_faults(objects), *config_faults(objects, program)]
    faults += [*policy_faults(policy), *scrape_faults(README.read_text())]
    tries = 0
    for rules, name, twin in broken_manifests(objects):
        tries += 1
        if not list(rules(twin)):
            faults.append(f"{rules.__name__} does not see {name}")
    for name, twin in broken_policies(policy):
        tries += 1
        if not list(policy_faults(twin)):
            faults.append(f"policy_faults does not see {name}")
    for old, new in [("static_configs", "static_config"), ("10477", "9100")]:
        tries += 1
        if not list(scrape_faults(README.read_text().replace(old, new))):
            faults.append(f"scrape_faults does not see {new}")
    for text in ["a: 1\na: 2\n", "a: [\n"]:
        tries += 1
        try:
            parse(text)
            faults.append(f"YAML: does not refuse {text!r}")
        except yaml.YAMLError:
            pass
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(objects)} objects against Kubernetes {', '.join(RELEASES)}; 1 policy; {tries} broken copies refused")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
