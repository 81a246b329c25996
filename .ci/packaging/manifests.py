"""What every rendering of the manifests must be, whether it comes from kustomize or from the chart: valid for several
Kubernetes releases, and right in what no schema says. Each rule is a generator of faults over a list of objects."""

import functools
import json

import kubernetes_validate
import yaml

RELEASES = ["1.25", "1.29", "1.31", "1.33", "1.35", "1.37"]
OPERATOR = "monitoring.coreos.com/v1"
NAME = "aws-iot-command-exporter"
CONFIG_FOLDER = "/etc/aws-iot-command-exporter"
USER = 65532
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


def of_kind(objects, *kinds):
    return [item for item in objects if item["kind"] in kinds]


def workload(objects):
    """The one Deployment or StatefulSet."""
    [item] = of_kind(objects, "Deployment", "StatefulSet")
    return item


def pod_of(objects):
    return workload(objects)["spec"]["template"]["spec"]


def container_of(objects):
    [container] = pod_of(objects)["containers"]
    return container


def is_demo(objects):
    return container_of(objects)["args"][0] == "demo"


def selects(labels, selector):
    """Whether a selector finds these labels; an empty one finds everything, which is never meant here."""
    wanted = selector.get("matchLabels", selector) if selector else {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


@functools.cache
def _schema_faults(text):
    item, faults = json.loads(text), []
    for release in RELEASES:
        try:
            checked = kubernetes_validate.validate(item, release, strict=True)
            if checked != release:
                faults.append(f"{item['kind']}: checked against {checked} in place of {release}")
        except kubernetes_validate.ValidationError as fault:
            faults.append(f"{item['kind']}, {release}: {'.'.join(map(str, fault.path))}: {fault.message}")
        except kubernetes_validate.SchemaNotFoundError as fault:
            faults.append(fault.message)
    return faults


def schema_faults(objects):
    """What the API server would refuse. Unlike the command line of kubernetes-validate, an unknown kind is a fault. The
    operator's resources are left to operator.mjs."""
    for item in objects:
        if item["apiVersion"] != OPERATOR:
            yield from _schema_faults(json.dumps(item, sort_keys=True))


def reference_faults(objects):
    """Names, labels and ports that must meet, and the namespace, which is easily lost on the way to a component."""
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} is there twice"
    if {item["metadata"].get("namespace") for item in objects} != {"monitoring"}:
        yield f"namespaces: {[(item['kind'], item['metadata'].get('namespace')) for item in objects]}"
    for kind in ["ServiceAccount", "ConfigMap", "NetworkPolicy"]:
        if len(of_kind(objects, kind)) != 1:
            yield f"not one {kind}"
            return
    spec = workload(objects)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container_of(objects)["ports"]}
    [policy] = of_kind(objects, "NetworkPolicy")
    selectors = [("workload", spec["selector"]), ("NetworkPolicy", policy["spec"]["podSelector"])]
    for item in of_kind(objects, "Service", "PodDisruptionBudget"):
        selectors.append((item["kind"], item["spec"]["selector"]))
    for place, selector in selectors:
        if not selects(labels, selector):
            yield f"{place}: the selector {selector} does not find the pod, or finds every pod"
    for service in of_kind(objects, "Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service: no port {port['targetPort']} in the pod"
    for rule in policy["spec"]["ingress"]:
        if not rule.get("from") or not {port["port"] for port in rule["ports"]} <= set(ports):
            yield f"NetworkPolicy: {rule}"
    if set(policy["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
        yield "NetworkPolicy: not both ways"
    opened = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", [{"port": "all"}])}
    if not {53, 443} <= opened or not opened <= {53, 443, 80}:
        yield f"NetworkPolicy: opens {opened}"
    for rule in policy["spec"]["egress"]:
        agent = {to["ipBlock"]["cidr"] for to in rule.get("to", [])} == {"169.254.170.23/32", "fd00:ec2::23/128"}
        if 80 in {port["port"] for port in rule.get("ports", [])} and not agent:
            yield f"NetworkPolicy: plain HTTP to more than the agent of Pod Identity: {rule}"
    if pod_of(objects)["serviceAccountName"] != of_kind(objects, "ServiceAccount")[0]["metadata"]["name"]:
        yield "not this ServiceAccount"


def scrape_faults(objects):
    """Prometheus finds every pod, and once."""
    annotations = workload(objects)["spec"]["template"]["metadata"].get("annotations", {})
    monitors = of_kind(objects, "ServiceMonitor")
    if (annotations.get("prometheus.io/scrape") == "true") == bool(monitors):
        yield "found by annotations and by a ServiceMonitor, or by neither"
    if annotations.get("prometheus.io/scrape") == "true":
        if annotations.get("prometheus.io/port") != str(container_of(objects)["ports"][0]["containerPort"]):
            yield "annotations: another port"
        if annotations.get("prometheus.io/path") != "/metrics":
            yield "annotations: another path"
    for monitor in monitors:
        spec = monitor["spec"]
        found = [item for item in of_kind(objects, "Service") if selects(item["metadata"].get("labels", {}), spec["selector"])]
        if len(found) != 1:
            yield f"ServiceMonitor: finds {len(found)} Services"
            continue
        if found[0]["metadata"]["labels"].get(spec.get("jobLabel")) != NAME:
            yield f"ServiceMonitor: the job is not called {NAME}, as the alerts call it"
        for endpoint in spec["endpoints"]:
            if endpoint["port"] not in {port["name"] for port in found[0]["spec"]["ports"]}:
                yield f"ServiceMonitor: no port {endpoint['port']}"
            if int(endpoint["scrapeTimeout"].rstrip("s")) > int(endpoint["interval"].rstrip("s")):
                yield "ServiceMonitor: the operator refuses a timeout above the interval"
    if bool(monitors) != bool(of_kind(objects, "PrometheusRule")):
        yield "a ServiceMonitor without rules, or rules without it"


def replica_faults(objects):
    """No execution is polled twice out of one quota."""
    item, args = workload(objects), container_of(objects)["args"]
    spec = item["spec"]
    budgets = of_kind(objects, "PodDisruptionBudget")
    if item["kind"] == "Deployment":
        if spec["replicas"] != 1 or spec["strategy"]["type"] != "Recreate":
            yield "Deployment: two pods would share one quota"
        if budgets:
            yield "PodDisruptionBudget: for a single pod it blocks every drain"
        if any(arg.startswith("--shard") for arg in args):
            yield "Deployment: a pod's name has no index"
        return
    if f"--shard=$(POD_NAME)/{spec['replicas']}" not in args:
        yield f"StatefulSet: {spec['replicas']} replicas and {args}"
    fields = {env["name"]: env.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for env in container_of(objects).get("env", [])}
    if fields.get("POD_NAME") != "metadata.name":
        yield "StatefulSet: $(POD_NAME) stays as it is"
    headless = [service["metadata"]["name"] for service in of_kind(objects, "Service") if service["spec"].get("clusterIP") == "None"]
    if headless != [spec.get("serviceName")]:
        yield "StatefulSet: not its headless Service"
    if spec.get("podManagementPolicy") != "Parallel" or "strategy" in spec:
        yield "StatefulSet: one shard waits for another"
    if len(budgets) != 1 or budgets[0]["spec"].get("maxUnavailable") != 1:
        yield "StatefulSet: no PodDisruptionBudget of one"


def pod_faults(objects):
    """Probes, the restricted profile, resources."""
    pod, container = pod_of(objects), container_of(objects)
    ports = {port["name"] for port in container["ports"]}
    [account] = of_kind(objects, "ServiceAccount")
    if pod.get("automountServiceAccountToken") is not False or account.get("automountServiceAccountToken") is not False:
        yield "a token for the Kubernetes API, which is never called"
    if pod["terminationGracePeriodSeconds"] < 2 * DRAIN_SECONDS:
        yield f"the program drains for up to {DRAIN_SECONDS} s, and then some"
    for probe, path in {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    }.items():
        get = container.get(probe, {}).get("httpGet", {})
        if get.get("path") != path or get.get("port") not in ports:
            yield f"{probe} does not ask {path}"

    of_pod, of_container = pod.get("securityContext", {}), container.get("securityContext", {})
    if of_pod.get("runAsNonRoot") is not True or of_pod.get("runAsUser") != USER or of_pod.get("fsGroup") != USER:
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
    allowed = {"configMap", "secret", "emptyDir", "projected", "name"}
    for volume in pod.get("volumes", []):
        if not set(volume) <= allowed:
            yield f"restricted: volume {volume}"
    if any("hostPort" in port for port in container["ports"]):
        yield "restricted: a port of the node"
    limits = container["resources"].get("limits", {})
    if "cpu" in limits or "memory" not in limits or set(container["resources"]["requests"]) != {"cpu", "memory"}:
        yield "resources: requests for both, a limit for memory alone"


def config_faults(objects):
    """A change of the ConfigMap reaches the running pod: its whole directory is mounted, it may change, and nothing
    restarts the pod for it."""
    pod, container = pod_of(objects), container_of(objects)
    [config] = of_kind(objects, "ConfigMap")
    [volume] = [volume for volume in pod["volumes"] if "configMap" in volume]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
    if volume["configMap"]["name"] != config["metadata"]["name"]:
        yield "not this ConfigMap"
    if "subPath" in mount or "subPathExpr" in mount or "items" in volume["configMap"]:
        yield "a file mounted alone never sees a change of the ConfigMap"
    if mount.get("readOnly") is not True:
        yield "the configuration can be written to"
    if config.get("immutable") or config["metadata"]["name"] != NAME:
        yield "the ConfigMap can not change, or changes its name"
    if any("checksum" in key for key in workload(objects)["spec"]["template"]["metadata"].get("annotations", {})):
        yield "a change of the configuration restarts the pod"
    files = [f"{mount['mountPath']}/{key}" for key in config["data"]]
    if not is_demo(objects) and not any(f"--config.file={file}" in container["args"] for file in files):
        yield f"--config.file names none of {files}"


RULES = [schema_faults, reference_faults, scrape_faults, replica_faults, pod_faults, config_faults]


def faults(objects):
    return [fault for rule in RULES for fault in rule(objects)]
