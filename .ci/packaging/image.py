"""Builds the image of deploy/docker/Dockerfile for two architectures, without a daemon and without base images, and runs
the pod of a rendered overlay in its root file system with runc: the same arguments, user, read-only root, capabilities,
default seccomp profile, and a ConfigMap laid out as the kubelet does. Then the ConfigMap changes under the running pod.
And it believes a server's certificate if the image does.

Usage: python .ci/packaging/image.py FOLDER PROGRAM OVERLAY      (as root; FOLDER is emptied; PROGRAM also simulates AWS)
"""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import manifests
from manifests import container_of, of_kind, parse, pod_of
from simulation import environment, fleet

NAME = "aws-iot-command-exporter-check"
SECCOMP = pathlib.Path("/usr/share/containers/seccomp.json")
ENTRYPOINT = "/usr/bin/aws-iot-command-exporter"
# The port of the pod is the host's here, where it may be taken.
PORT = 29477
RELOAD_SECONDS = 45


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def buildah(folder, *command):
    storage = ["--storage-driver=vfs", f"--root={folder}/storage", f"--runroot={folder}/run"]
    return run("buildah", *storage, *command)


def build(folder, program, arch):
    """An image of the staged root, its configuration, and where its files lie."""
    run("deploy/docker/stage", program, folder / "root" / arch)
    (folder / "root" / arch / "etc/arch").write_text(arch)
    flags = ["--isolation=chroot", f"--platform=linux/{arch}", "--file=deploy/docker/Dockerfile", f"--tag={NAME}:{arch}"]
    flags += ["--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc", "--quiet"]
    buildah(folder, "build", *flags, folder)
    image = json.loads(buildah(folder, "inspect", "--type=image", f"{NAME}:{arch}"))
    container = buildah(folder, "from", "--pull-never", f"--platform=linux/{arch}", f"localhost/{NAME}:{arch}").strip()
    return image["OCIv1"], pathlib.Path(buildah(folder, "mount", container).strip())


def image_faults(image, root, arch):
    config = image["config"]
    if image["architecture"] != arch or (root / "etc/arch").read_text() != arch:
        yield f"{arch}: holds {image['architecture']} and {(root / 'etc/arch').read_text()}"
    if config.get("User") != "65532:65532" or config.get("Entrypoint") != [ENTRYPOINT]:
        yield f"{arch}: {config.get('User')}, {config.get('Entrypoint')}"
    if config.get("ExposedPorts") != {"10477/tcp": {}}:
        yield f"{arch}: ports {config.get('ExposedPorts')}"
    labels = config.get("Labels", {})
    for key, value in {"title": manifests.NAME, "licenses": "Apache-2.0", "version": "1.2.3", "revision": "abc"}.items():
        if labels.get(f"org.opencontainers.image.{key}") != value:
            yield f"{arch}: label {key} is {labels.get(f'org.opencontainers.image.{key}')!r}"
    yield from (f"{arch}: {fault}" for fault in root_faults(root))


def root_faults(root):
    """Nothing but the program, what it trusts, its user and its libraries; nothing that its user may change."""
    allowed = {"etc/arch", "etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt", ENTRYPOINT[1:]}
    for path in sorted(root.rglob("*")):
        place, mode = path.relative_to(root).as_posix(), path.lstat()
        if stat.S_ISREG(mode.st_mode) and place not in allowed and ".so" not in path.name:
            yield f"{place} has no business there"
        if mode.st_uid != 0 or mode.st_gid != 0:
            yield f"{place} belongs to {mode.st_uid}:{mode.st_gid}"
        if mode.st_mode & 0o022 and place != "tmp" and not stat.S_ISLNK(mode.st_mode):
            yield f"{place} may be changed by others"
        if mode.st_mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{place} changes its user"
    if (root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") < 50:
        yield "too few certificate authorities"
    if ":65532:65532:" not in (root / "etc/passwd").read_text():
        yield "no user 65532"


def lay_out(volume, data, version):
    """As the kubelet does: a folder a version, a link ..data that is swapped whole, and a link for each file."""
    folder = volume / f"..{version}"
    folder.mkdir()
    for key, text in data.items():
        (folder / key).write_text(text)
        if not (volume / key).is_symlink():
            (volume / key).symlink_to(f"..data/{key}")
    fresh = volume / "..data_tmp"
    fresh.symlink_to(folder.name)
    fresh.rename(volume / "..data")


def seccomp():
    """The container engines' default profile, for a container without capabilities on this architecture."""
    profile = json.loads(SECCOMP.read_text())
    calls = []
    for rule in profile["syscalls"]:
        include, exclude = rule.get("includes", {}), rule.get("excludes", {})
        if include.get("caps") or include.get("arches") and "amd64" not in include["arches"] or "amd64" in exclude.get("arches", []):
            continue
        calls.append({key: rule[key] for key in ("names", "action", "errnoRet", "args") if rule.get(key)})
    # The scalar form of errno, and the architectures, as runc wants them.
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": calls,
    }


def bundle(root, objects, volume, variables):
    """The pod's one container as runc's configuration: what the kubelet and the engine would make of it."""
    pod, container = pod_of(objects), container_of(objects)
    [mount] = container["volumeMounts"]
    security = pod["securityContext"] | container["securityContext"]
    drop = security["capabilities"]["drop"] == ["ALL"]
    args = [arg.replace(":10477", f"127.0.0.1:{PORT}") for arg in container["args"]]
    none = {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"], "additionalGids": [security["fsGroup"]]},
            "args": [ENTRYPOINT, *args],
            "env": [f"{key}={value}" for key, value in variables.items() if key.startswith("AWS_")],
            "cwd": "/",
            "capabilities": none if drop else None,
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        },
        "root": {"path": str(root), "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "pod",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": mount["mountPath"], "type": "bind", "source": str(volume), "options": ["rbind", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/sys", "/proc/irq", "/proc/bus"],
            "seccomp": seccomp(),
        },
    }


def ask(path):
    """The status of an answer and its text; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, ""
    except OSError:
        return 0, ""


def wait(what, seconds, process):
    """Until `what()` is true: whether it became so, while the process lived."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if what():
            return True
        time.sleep(0.2)
    return False


def statuses(page):
    return {line.split('execution_id="')[1].split('"')[0] for line in page.splitlines() if line.startswith("aws_iot_command_execution_status{")}


@contextlib.contextmanager
def container(folder, configuration):
    """The running container: the process of runc, and the program's own id."""
    home = folder / "bundle"
    home.mkdir()
    (home / "config.json").write_text(json.dumps(configuration))
    runc = ["runc", f"--root={folder}/runc"]
    log = (folder / "container.log").open("w")
    process = subprocess.Popen([*runc, "run", f"--bundle={home}", NAME], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process, lambda: json.loads(run(*runc, "state", NAME))["pid"]
    finally:
        if process.poll() is None:
            subprocess.run([*runc, "kill", NAME, "KILL"], capture_output=True)
            process.wait(timeout=15)
        subprocess.run([*runc, "delete", "--force", NAME], capture_output=True)
        log.close()


def process_faults(pid):
    """What the kernel says of the program."""
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    wanted = {"Uid": "65532\t65532\t65532\t65532", "Gid": "65532\t65532\t65532\t65532", "NoNewPrivs": "1", "Seccomp": "2"}
    wanted |= {f"Cap{kind}": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    yield from (f"{key}: {status.get(key)!r}" for key, value in wanted.items() if status.get(key) != value)
    mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    for place in ("/", manifests.CONFIG_FOLDER):
        if not any(mount[4] == place and "ro" in mount[5].split(",") for mount in mounts):
            yield f"{place} can be written to"


def run_faults(folder, root, objects, program):
    """The pod starts, its probes pass, it polls, a new ConfigMap reaches it, it stops."""
    volume = folder / "volume"
    volume.mkdir(mode=0o755)
    [config] = of_kind(objects, "ConfigMap")
    container_spec = container_of(objects)
    with fleet(program, 8) as (address, records):
        document = yaml.safe_load(config["data"]["exporter.yaml"])

        def version(count):
            pairs = [{"target_arn": item["targetArn"], "execution_id": item["executionId"]} for item in records[:count]]
            return {"exporter.yaml": yaml.safe_dump(document | {"executions": pairs})}

        lay_out(volume, version(3), 1)
        with container(folder, bundle(root, objects, volume, environment(address))) as (process, pid):
            probes = [container_spec[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            if not wait(lambda: all(ask(path)[0] == 200 for path in probes), 60, process):
                yield f"the probes do not pass: {(folder / 'container.log').read_text()}"
                return
            first, started = pid(), time.monotonic()
            yield from process_faults(first)
            if not wait(lambda: statuses(ask("/metrics")[1]) == {item["executionId"] for item in records[:3]}, 30, process):
                yield f"polls {statuses(ask('/metrics')[1])}"
            lay_out(volume, version(8), 2)
            if not wait(lambda: statuses(ask("/metrics")[1]) == {item["executionId"] for item in records}, RELOAD_SECONDS, process):
                yield f"a change of the ConfigMap does not arrive: {(folder / 'container.log').read_text()}"
            arrived = time.monotonic() - started
            sha = hashlib.sha256(version(8)["exporter.yaml"].encode()).hexdigest()
            if sha not in ask("/metrics")[1]:
                yield "config_hash_info is not that of the new ConfigMap"
            if pid() != first:
                yield "the change restarted the program"
            os.kill(first, signal.SIGTERM)
            code = process.wait(timeout=pod_of(objects)["terminationGracePeriodSeconds"])
            if code != 0:
                yield f"SIGTERM ends it with {code}"
            print(f"runc: probes pass, a changed ConfigMap arrives after {arrived:.0f} s in the same process, SIGTERM ends it with 0")


OPENSSL = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = 127.0.0.1
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
"""


@contextlib.contextmanager
def tls_server(folder):
    """Yields an address with a certificate that nobody trusts, the certificate, and a list that grows with each request
    that got through."""
    (folder / "openssl.cnf").write_text(OPENSSL)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    flags = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", folder / "openssl.cnf"]
    run("openssl", "req", *flags, "-keyout", key, "-out", certificate)
    requests = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.handle_error = lambda *_: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", certificate, requests
    finally:
        server.shutdown()
        server.server_close()


def trust_faults(folder, root, objects):
    """The program believes the certificate authorities of the image, and no others."""
    bundled = root / "etc/ssl/certs/ca-certificates.crt"
    volume = folder / "trust"
    volume.mkdir()
    lay_out(volume, of_kind(objects, "ConfigMap")[0]["data"], 1)
    before = bundled.read_bytes()
    with tls_server(folder) as (address, certificate, requests):
        configuration = bundle(root, objects, volume, environment(address))
        configuration["process"]["args"] = [ENTRYPOINT, "once", f"--config.file={manifests.CONFIG_FOLDER}/exporter.yaml"]
        for trusted in (False, True):
            bundled.write_bytes(before + (certificate.read_bytes() if trusted else b""))
            home = folder / f"trust-{trusted}"
            home.mkdir()
            with container(home, configuration) as (process, _):
                process.wait(timeout=60)
            if bool(requests) != trusted:
                yield f"certificate {'not ' * trusted}believed: {(home / 'container.log').read_text()[-2000:]}"
    bundled.write_bytes(before)


def blind_spots(image, root):
    """Broken images that the rules take for good."""
    for what, change in {
        "root": lambda twin: twin["config"].update(User="0"),
        "another entry point": lambda twin: twin["config"].update(Entrypoint=["/bin/sh"]),
        "no labels": lambda twin: twin["config"].pop("Labels"),
        "another architecture": lambda twin: twin.update(architecture="s390x"),
    }.items():
        twin = json.loads(json.dumps(image))
        change(twin)
        if not list(image_faults(twin, root, "amd64")):
            yield f"image_faults does not see {what}"
    shell = root / "usr/bin/sh"
    for what, make, undo in [
        ("a shell", lambda: shell.write_text(""), shell.unlink),
        ("a file of somebody's", lambda: os.chown(root / "etc/arch", 65532, 0), lambda: os.chown(root / "etc/arch", 0, 0)),
        ("a file for all to write", lambda: (root / "etc/arch").chmod(0o666), lambda: (root / "etc/arch").chmod(0o644)),
    ]:
        make()
        if not list(root_faults(root)):
            yield f"root_faults does not see {what}"
        undo()


def main(folder, program, overlay):
    folder = pathlib.Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    objects = parse(pathlib.Path(overlay).read_text())
    found = []
    for arch in ("arm64", "amd64"):
        image, root = build(folder, program, arch)
        found += image_faults(image, root, arch)
        print(f"{arch}: {sum(file.stat().st_size for file in root.rglob('*') if file.is_file()) / 1e6:.0f} MB with this binary")
    found += blind_spots(image, root)
    found += run_faults(folder, root, objects, program)
    found += trust_faults(folder, root, objects)
    for fault in found:
        print(fault, file=sys.stderr)
    for part in ("storage", "root"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
