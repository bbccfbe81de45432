"""A small Slurm on which jobs really run: every node is a slurmd in namespaces of its own.

A node has its own host name, process ids and /dev/shm, and a loopback address. It believes that it
has as many cores as its line in slurm.conf says. When its first process ends, all of it is gone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.cluster import PATH, daemon, free_port, slurm_environ, wait_until

PAIR = ("n1", "n2")
SPARE = ("n3", "n4", "n5")
THREADED = ("n6",)
"""With two hardware threads for each core."""

NODES = (*PAIR, *SPARE, *THREADED)
CPUS = 16

LONG_SECONDS = 400
"""A start takes 10 seconds of an idle machine, and a minute of a busy one."""

# The first process of a node: it names the node, starts slurmd and reaps what is left by others.
_NODE = """
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777,size=64k tmpfs "$2/tiny"
slurmd -D -N "$1" &
while kill -0 $! 2>/dev/null; do wait $!; done
"""
_NAMESPACES = ("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child=KILL")

# What a job may be before it is over.
_ACTIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "SIGNALING")


@dataclass(frozen=True)
class Nodes:
    """A Slurm that runs jobs.

    Attributes:
        conf: Its slurm.conf.
        tiny: On every node, a file system of its own with room for 64 KB.
        small: A file system of all nodes with room for 8 MB.
        processes: The first process of every node.
    """

    conf: Path
    tiny: Path
    small: Path
    processes: Mapping[str, int]

    def make_read_only(self, name: str, path: Path) -> Callable[[], None]:
        """Make a folder read-only on a node, for all that is opened from now on.

        Returns:
            What makes it as it was.
        """
        enter = ("nsenter", f"--target={self.processes[name]}", "--mount")
        # A remount of the file system itself is refused as long as any file is open for writing.
        _run(*enter, "mount", "--bind", str(path), str(path))
        _run(*enter, "mount", "-o", "remount,bind,ro", str(path))
        return lambda: _run(*enter, "umount", str(path))

    def hide(self, name: str, path: Path) -> Callable[[], None]:
        """Put an empty folder in the place of one on a node.

        Returns:
            What makes it as it was.
        """
        enter = ("nsenter", f"--target={self.processes[name]}", "--mount")
        _run(*enter, "mount", "-t", "tmpfs", "tmpfs", str(path))
        return lambda: _run(*enter, "umount", str(path))

    def run(self, *words: str, given: str = "", **variables: str) -> str:
        """Standard output of a command of Slurm."""
        done = subprocess.run(
            words,
            input=given,
            env={**slurm_environ(self.conf), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def submit(self, script: str, folder: Path, variables: Mapping[str, str]) -> str:
        """The number of a job that works in a folder; the script goes in on stdin."""
        words = ("sbatch", "--parsable", f"--chdir={folder}")
        return self.run(*words, given=script, **variables).strip()

    def show(self, job: str) -> dict[str, str]:
        """What Slurm says of a job."""
        said = self.run("scontrol", "--oneliner", "show", "job", job)
        return dict(re.findall(r"(\S+?)=(\S*)", said))

    def wait_for(
        self, what: str, ready: Callable[[], bool], job: str, seconds: float = LONG_SECONDS
    ) -> None:
        """Wait until something is true of a job that is not over.

        Raises:
            AssertionError: It is over, or the time is up; says what its output was.
        """
        end = time.monotonic() + seconds
        while not ready():
            shown = self.show(job)
            over = shown["JobState"] not in _ACTIVE
            if (over and not ready()) or time.monotonic() > end:
                raise AssertionError(f"{what}: {shown}\n{self.output(job)}")
            time.sleep(0.1)

    def wait_for_end(self, job: str, seconds: float = LONG_SECONDS) -> dict[str, str]:
        """What Slurm says of a job when it is over."""
        end = time.monotonic() + seconds
        while (shown := self.show(job))["JobState"] in _ACTIVE:
            if time.monotonic() > end:
                raise AssertionError(f"{shown}\n{self.output(job)}")
            time.sleep(0.1)
        return shown

    def output(self, job: str) -> str:
        """What a job has printed."""
        path = Path(self.show(job)["StdOut"])
        return path.read_text(errors="replace") if path.exists() else ""


def missing_namespaces() -> str:
    """Why nodes cannot have namespaces of their own here; empty when they can."""
    done = subprocess.run(
        [*_NAMESPACES, "--mount-proc", "hostname", "probe"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return f"nodes need namespaces: {done.stderr.strip()}" if done.returncode else ""


@contextmanager
def start_nodes(munge: Path) -> Iterator[Nodes]:
    """A controller and its nodes, all idle. Nothing of them is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nodes."))
    folder.chmod(0o755)
    try:
        conf = folder / "slurm.conf"
        conf.write_text(_make_conf(munge, folder))
        # A plug-in that does nothing: the default one ends slurmd where there are no cgroups.
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        addresses = "".join(f"{_address(name)} {name}\n" for name in NODES)
        (folder / "hosts").write_text(Path("/etc/hosts").read_text() + addresses)
        for name in ("tiny", "small"):
            (folder / name).mkdir()
        # What a daemon has in its environment, its jobs get.
        environ = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "SLURM_CONF": str(conf)}
        with ExitStack() as stack:
            small = folder / "small"
            # Every node gets a copy of the mounts that are there when it starts.
            _run("mount", "-t", "tmpfs", "-o", "mode=1777,size=8m", "tmpfs", str(small))
            stack.callback(_run, "umount", "--lazy", str(small))
            log = folder / "slurmctld.out"
            stack.enter_context(daemon(["slurmctld", "-D", "-i", "-c"], environ, log))
            outer = {}
            for name in NODES:
                words = ["--mount-proc", "bash", "-c", _NODE, "node", name, str(folder)]
                log = folder / f"{name}.out"
                # unshare does not pass a SIGTERM on; its death is that of the node.
                words = [*_NAMESPACES, *words]
                outer[name] = stack.enter_context(daemon(words, environ, log, "KILL"))
            wait_until(lambda: _idle(environ), log)
            processes = {name: _only_child(process.pid) for name, process in outer.items()}
            yield Nodes(conf, folder / "tiny", small, processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_conf(munge: Path, folder: Path) -> str:
    lines = [
        "ClusterName=nodes",
        "SlurmctldHost=localhost(127.0.0.1)",
        f"SlurmctldPort={free_port()}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        # A job that was requeued may start again when its old credential has expired.
        f"AuthInfo=socket={munge},cred_expire=5",
        "CommunicationParameters=NoCtldInAddrAny",
        f"StateSaveLocation={folder}/state",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdSpoolDir={folder}/%n",
        f"SlurmdPidFile={folder}/%n.pid",
        f"SlurmdLogFile={folder}/%n.log",
        f"TmpFS={folder}/%n/tmp",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "JobAcctGatherType=jobacct_gather/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "EnforcePartLimits=ALL",
        "PropagateResourceLimits=NONE",
        "MailProg=/bin/true",
        # The nodes have the cores that they are said to have.
        "SlurmdParameters=config_overrides",
        # Jobs are asked about long after their end.
        "MinJobAge=86400",
        # A node that was set down stays so.
        "ReturnToService=1",
        "SlurmdTimeout=20",
        "KillWait=20",
        # A node answers when a step has ended. One that seems not to answer is told again, and the
        # step of that number may by then be one of the restarted job.
        "MessageTimeout=60",
        *(
            f"NodeName={name} NodeHostName=localhost NodeAddr={_address(name)} "
            f"Port={free_port()} Sockets=1 RealMemory=1000 "
            + (
                f"CoresPerSocket={CPUS // 2} ThreadsPerCore=2"
                if name in THREADED
                else f"CoresPerSocket={CPUS}"
            )
            for name in NODES
        ),
        f"PartitionName=pair Nodes={','.join(PAIR)} Default=YES MaxTime=60",
        f"PartitionName=spare Nodes={','.join(SPARE)} MaxNodes=2 MaxTime=60",
        f"PartitionName=threaded Nodes={','.join(THREADED)} MaxTime=60",
    ]
    (folder / "state").mkdir()
    for name in NODES:
        (folder / name / "tmp").mkdir(parents=True)
    return "\n".join(lines) + "\n"


def _only_child(process: int) -> int:
    (child,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(child)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=60)


def _address(name: str) -> str:
    return f"127.77.0.{NODES.index(name) + 1}"


def _idle(environ: Mapping[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%N %t"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return {f"{name} idle" for name in NODES} == set(done.stdout.split("\n")) - {""}
