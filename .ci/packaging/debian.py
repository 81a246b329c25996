"""Builds the Debian package around a binary and checks it: what lintian says, what it holds, that two builds are equal,
the unit's hardening. Then a systemd boots in a throw-away copy of this machine's file system (an overlay), and there the
package is installed, must have started the service, takes a new configuration, and is purged.

Usage: python .ci/packaging/debian.py FOLDER PROGRAM      (as root; FOLDER is emptied)
"""

import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import time

UNIT = "aws-iot-command-exporter.service"
SOURCE = pathlib.Path("deploy/systemd") / UNIT
MOST_EXPOSURE = 2.0
# Of no meaning outside of Debian's own archive.
SUPPRESSED = "initial-upload-closes-no-bugs"
FILES = {
    "./etc/aws-iot-command-exporter/exporter.yaml",
    "./etc/default/aws-iot-command-exporter",
    f"./lib/systemd/system/{UNIT}",
    "./usr/bin/aws-iot-command-exporter",
    "./usr/share/doc/aws-iot-command-exporter/changelog.Debian.gz",
    "./usr/share/doc/aws-iot-command-exporter/copyright",
    "./usr/share/doc/aws-iot-command-exporter/examples/exporter.yaml",
    "./usr/share/man/man1/aws-iot-command-exporter.1.gz",
}


def run(*command, check=True, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **more)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done


def package_faults(package):
    """What it holds, and whose it is."""
    lines = run("dpkg-deb", "--contents", package).stdout.splitlines()
    held = {line.split(maxsplit=5)[5] for line in lines if not line.startswith("d")}
    if held != FILES:
        yield f"holds {sorted(held ^ FILES)} more or less"
    for line in lines:
        mode, owner, *_ = line.split()
        if owner != "root/root" or "w" in mode[5] + mode[8] or "s" in mode:
            yield f"open to others: {line}"
    conffiles = run("dpkg-deb", "--info", package, "conffiles").stdout.split()
    if sorted(conffiles) != sorted(file[1:] for file in FILES if file.startswith("./etc/")):
        yield f"conffiles: {conffiles}"
    done = run("lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", SUPPRESSED, package, check=False)
    if done.returncode != 0:
        yield f"lintian: {done.stdout}{done.stderr}"


def exposure(unit):
    text = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit, check=False).stdout
    return float(re.search(r"Overall exposure level for .*: ([0-9.]+)", text)[1])


def verify_faults(root, unit):
    """An unknown key is a mere warning to systemd, and a fault here."""
    done = run("systemd-analyze", "verify", "--man=no", f"--root={root}", unit, check=False)
    yield from (line for line in (done.stdout + done.stderr).splitlines() if pathlib.Path(unit).name in line)
    if done.returncode != 0:
        yield f"verify exits with {done.returncode}"


@contextlib.contextmanager
def overlay(folder):
    """This machine's root file system, on which writing leaves no trace."""
    upper, merged = folder / "upper", folder / "merged"
    for path in (upper, merged):
        path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1g", "overlay-upper", upper)
    try:
        for name in ("data", "work"):
            (upper / name).mkdir()
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper}/data,workdir={upper}/work", merged)
        try:
            yield merged
        finally:
            run("umount", "--recursive", "--lazy", merged)
    finally:
        run("umount", "--lazy", upper)


def leader(process):
    """The booted systemd, which is 1 in its own name space: a descendant of nspawn's."""
    queue = [process.pid]
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):
            if re.search(r"^NSpid:.*\t1$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
                return pid
            queue += [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return None


class Machine:
    """A booted systemd of its own, without a network."""

    def __init__(self, root, process, pid):
        self.root, self.process, self.pid = root, process, pid

    def run(self, *command, check=True):
        return run("nsenter", f"--target={self.pid}", "--all", "--", *command, check=check)

    def show(self, name):
        return self.run("systemctl", "show", "--value", f"--property={name}", UNIT).stdout.strip()

    def ask(self, path):
        """An answer of the exporter, asked from within its network by this machine's Python."""
        code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:10477{path}', timeout=5).read().decode())"
        return run("nsenter", f"--target={self.pid}", "--net", "--", sys.executable, "-c", code, check=False).stdout

    def wait(self, what, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return True
            time.sleep(0.3)
        return False


@contextlib.contextmanager
def booted(root, log):
    """Only the basic system: this machine's own services stay off."""
    # What this machine has set up for itself and a fresh one has not.
    (root / "etc/machine-id").write_text("")
    # In an image it forbids services to start.
    (root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
    flags = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--boot", "--console=pipe", f"--directory={root}"]
    flags += ["systemd.unit=basic.target", "systemd.mask=timers.target", "systemd.mask=sockets.target", "systemd.firstboot=no"]
    with log.open("w") as out:
        process = subprocess.Popen(["systemd-nspawn", *flags], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end and process.poll() is None:
                pid = leader(process)
                if pid:
                    machine = Machine(root, process, pid)
                    state = machine.run("systemctl", "is-active", "basic.target", check=False).stdout.strip()
                    if state == "active":
                        yield machine
                        return
                time.sleep(0.3)
            raise SystemExit(f"no systemd has booted: {log.read_text()}")
        finally:
            # The first SIGTERM asks it to shut down; the machine is thrown away in any case.
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=20)


def service_faults(machine):
    """As postinst left it: started, by its own user, with nothing it does not need."""
    states = {name: machine.show(name) for name in ("ActiveState", "SubState", "UnitFileState", "User")}
    if states != {"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "User": "aws-iot-command-exporter"}:
        yield f"{states}: {machine.run('journalctl', '--no-pager', '--unit', UNIT, check=False).stdout[-2000:]}"
        return
    if not machine.wait(lambda: machine.ask("/-/healthy"), 20):
        yield "is not healthy"
    pid = machine.show("MainPID")
    status = machine.run("cat", f"/proc/{pid}/status").stdout
    user = machine.run("id", "-u", "aws-iot-command-exporter").stdout.strip()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = {"Uid": "\t".join([user] * 4), "NoNewPrivs": "1", "Seccomp": "2"} | {f"Cap{kind}": "0" * 16 for kind in ("Prm", "Eff", "Bnd", "Amb")}
    yield from (f"{key}: {fields.get(key)!r} in place of {value!r}" for key, value in wanted.items() if fields.get(key) != value)
    if int(user) >= 1000 or user == "0":
        yield f"not a system user: {user}"
    for path, mode in {
        "/etc/aws-iot-command-exporter": "750",
        "/etc/aws-iot-command-exporter/exporter.yaml": "640",
        "/etc/default/aws-iot-command-exporter": "640",
    }.items():
        found = machine.run("stat", "--format=%a %U", path).stdout.strip()
        if found != f"{mode} root":
            yield f"{path}: {found}"


def reload_faults(machine):
    """A change of the file arrives by itself, and `systemctl reload` is there for the impatient."""

    def digest():
        found = re.search(r'config_hash_info\{hash="([0-9a-f]+)"\}', machine.ask("/metrics"))
        return found and found[1]

    before, pid = digest(), machine.show("MainPID")
    file = "/etc/aws-iot-command-exporter/exporter.yaml"
    machine.run("sh", "-c", f"echo 'poll: {{ interval: 1m }}' >>{file}")
    if not machine.wait(lambda: digest() not in (before, None), 40):
        yield f"a change of {file} does not arrive: {before}"
    machine.run("systemctl", "reload", UNIT)
    if machine.show("MainPID") != pid or machine.show("ActiveState") != "active":
        yield "reloading restarted it"


def purge_faults(machine):
    machine.run("dpkg", "--remove", "aws-iot-command-exporter")
    if machine.show("ActiveState") != "inactive" or machine.ask("/-/healthy"):
        yield f"removed, and still {machine.show('ActiveState')}"
    if not (machine.root / "etc/aws-iot-command-exporter/exporter.yaml").exists():
        yield "removing took the configuration away"
    machine.run("dpkg", "--purge", "aws-iot-command-exporter")
    left = [path for path in FILES if (machine.root / path).exists()]
    if left or (machine.root / "etc/systemd/system/multi-user.target.wants" / UNIT).is_symlink():
        yield f"purged, and left {left} or its link"


def blind_spots(folder, root):
    """The unit's rules must be able to fail."""
    twin = folder / UNIT
    text = SOURCE.read_text()
    for old, new in [("ProtectHome=", "ProtectsHome="), ("Type=exec", "Type=execute"), ("[Install]", "[Instal]")]:
        twin.write_text(text.replace(old, new))
        if not list(verify_faults(root, twin)):
            yield f"verify_faults does not see {new}"
    twin.write_text(re.sub(r"(?m)^(ProtectSystem|RestrictAddressFamilies|SystemCallFilter|CapabilityBoundingSet)=.*\n", "", text))
    if exposure(twin) < MOST_EXPOSURE:
        yield "exposure does not see what is missing"


def main(folder, program):
    folder = pathlib.Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    builds = [pathlib.Path(run("deploy/debian/build", program, folder / name).stdout.strip()) for name in ("one", "two")]
    found = list(package_faults(builds[0]))
    if builds[0].read_bytes() != builds[1].read_bytes():
        found.append("two builds of the same binary differ")
    score = exposure(SOURCE)
    if score >= MOST_EXPOSURE:
        found.append(f"exposure {score}")
    with overlay(folder) as root, booted(root, folder / "boot.log") as machine:
        shutil.copy(builds[0], root / "package.deb")
        done = machine.run("dpkg", "--install", "/package.deb", check=False)
        if done.returncode != 0:
            raise SystemExit(f"dpkg: {done.stdout}{done.stderr}")
        found += verify_faults(root, f"/lib/systemd/system/{UNIT}")
        found += blind_spots(folder, root)
        found += service_faults(machine)
        if not found:
            found += reload_faults(machine)
            found += purge_faults(machine)
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{builds[0].name}: installed, started, reloaded, purged under systemd; exposure {score}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
