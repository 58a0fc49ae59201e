"""A host of its own with a real systemd as process 1: this machine's files under an overlay, in namespaces of its own, with a cgroup of its
own as the root of its tree and a BPF file system of its own. What is installed, attached and pinned there is gone when it ends, and
nobody outside is steered. The network is this machine's.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import uuid

from daemon import CGROUP_ROOT
from database import wait_until

# /sys and /proc/sys are read-only, as in every container: systemd then leaves devices and kernel settings alone. Of what this machine has
# enabled nothing is started, and /tmp, where checkout and scratch directory may be, is not emptied.
BOOT = """set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
cd "$SCRATCH/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >etc/fstab
mkdir -p etc/systemd/system etc/tmpfiles.d .outside
: >etc/tmpfiles.d/tmp.conf
mount -t tmpfs -o mode=755 tmpfs etc/systemd/system
pivot_root . .outside
umount -l /.outside
exec env -i container=sluice-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --show-status=no
"""


def why_not():
    """Why there can be none here; empty where there can."""
    for program in ("/lib/systemd/systemd", "unshare", "nsenter", "pivot_root"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if "\toverlay\n" not in pathlib.Path("/proc/filesystems").read_text():
        return "this kernel has no overlay file system"
    return ""


class SystemdHost:
    def __init__(self, scratch, lower="/"):
        """scratch: a directory that an overlay can be made in. lower: the root file system that it shows."""
        self.scratch, self.lower = pathlib.Path(scratch), lower
        self.cgroup = CGROUP_ROOT / f"sluice-test-{uuid.uuid4().hex[:8]}"
        self.outer = None   # unshare(1), which waits
        self.init = None    # process 1 in there, as seen from here

    def boot(self):
        for name in ("upper", "work", "root"):
            (self.scratch / name).mkdir(parents=True)
        self.cgroup.mkdir()
        with open(self.scratch / "boot.log", "wb") as log:
            self.outer = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup", "sh", "-c", BOOT],
                env={**os.environ, "SCRATCH": str(self.scratch), "LOWER": self.lower}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: (self.cgroup / "cgroup.procs").write_text(str(os.getpid())))
        wait_until("systemd has booted", self._is_up, seconds=60)
        return self

    def _is_up(self):
        if self.outer.poll() is not None:
            raise AssertionError(f"systemd ended with {self.outer.returncode}:\n{(self.scratch / 'boot.log').read_text()[-4000:]}")
        children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        if not children:
            return False
        self.init = int(children[0])
        if pathlib.Path(f"/proc/{self.init}/comm").read_text().strip() != "systemd":
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def run(self, *command, check=True, stdin=None, seconds=120):
        """Runs a command in there as root, outside of every unit (and so not steered)."""
        run = subprocess.run(["nsenter", "--target", str(self.init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--wd=/", *map(str, command)],
                             capture_output=True, text=True, input=stdin, timeout=seconds, check=False)
        if check and run.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))} → {run.returncode}\n{run.stdout}{run.stderr}")
        return run

    def as_unit(self, *command, unit=None, check=True):
        """Runs a command in there as a transient service, and waits for it."""
        name = [f"--unit={unit}"] if unit else []
        return self.run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *name, "--", *command, check=check)

    def show(self, unit, key):
        return self.run("systemctl", "show", "--property", key, "--value", unit).stdout.strip()

    def write(self, path, text):
        self.run("sh", "-c", 'cat >"$0"', path, stdin=text)

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--unit", unit, check=False).stdout

    def close(self):
        if self.outer is None:
            return
        if self.outer.poll() is None and self.init is not None:
            os.kill(self.init, signal.SIGRTMIN + 4)  # systemd: power off
            try:
                self.outer.wait(timeout=60)
            except subprocess.TimeoutExpired:
                pass
        self.outer.kill()
        self.outer.wait()
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            wait_until(f"{directory} is empty", lambda: _removed(directory))


def _removed(directory):
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
