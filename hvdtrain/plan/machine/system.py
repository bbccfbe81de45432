"""A cluster as a scheduler and a rank see it: nodes, partitions, limits, launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.decode import load_toml
from hvdtrain.files.fields import (
    DirectiveName,
    FilePath,
    Folder,
    FolderOrVariable,
    Line,
    Module,
    Name,
    VariableName,
    Word,
    unknown_name,
)
from hvdtrain.files.numbers import WrittenCount, WrittenPositiveInt
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.resources import resource_folder
from hvdtrain.units import format_walltime

Launcher = Literal["ibrun", "srun", "mpirun"]
MpiFamily = Literal["intel", "openmpi", "mpich"]
StageBy = Literal["parallel-read", "sbcast"]


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node's hardware.

    Attributes:
        processor: The processor's name, as its maker calls it.
        sockets: Sockets in the node, 1 to 64.
        cores_per_socket: Physical cores in a socket.
        threads_per_core: Hardware threads of a core that the system has switched on.
        numa_per_socket: NUMA domains in a socket.
        numbering: How processor ids go over the sockets. `block`: socket 0 first;
            `interleaved`: even ids on socket 0, odd ids on socket 1; `detect`: not certain, so
            a job reads it from the node when it starts.
        avx512: `full`: with the BW and VL parts, as ITEX needs; `partial`: the Knights Landing
            set; `none`.
        memory_gb: Main memory in GB.
        local_gb: Local disk for a job in GB; 0: none.
        staging: The folder that training data is copied to when a job starts; or the variable
            that names it in a job, such as `$TMPDIR`.
    """

    processor: Line
    sockets: Annotated[int, Meta(ge=1, le=64)]
    cores_per_socket: Annotated[int, Meta(ge=1, le=1024)]
    threads_per_core: Annotated[int, Meta(ge=1, le=8)]
    numa_per_socket: Annotated[int, Meta(ge=1, le=64)] = 1
    numbering: Literal["block", "interleaved", "detect"]
    avx512: Literal["full", "partial", "none"]
    memory_gb: WrittenPositiveInt
    local_gb: WrittenCount = 0
    staging: FolderOrVariable = "/dev/shm"

    @property
    def cores(self) -> int:
        """Physical cores of the node."""
        return self.sockets * self.cores_per_socket

    @property
    def staging_variable(self) -> str | None:
        """Name of the variable that holds the folder in a job; None: the folder is known."""
        return self.staging[1:] if self.staging.startswith("$") else None


class Cores(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the ranks share a node unless the user says otherwise.

    Attributes:
        ranks_per_node: MPI ranks on a node.
        comm_cores: Cores of a node that only communicate.
        source: Where these numbers come from.
    """

    ranks_per_node: WrittenPositiveInt = 1
    comm_cores: WrittenCount
    source: Line


class Partition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to submit: a partition, a QOS, or both, with its limits.

    Attributes:
        name: What `--partition` calls it.
        partition: Value of Slurm's partition directive; None: the directive is not given.
        qos: Value of Slurm's QOS directive; None: the directive is not given.
        min_nodes: Fewest nodes of a job.
        max_nodes: Most nodes of a job.
        min_walltime_min: Shortest wall time that a job may ask for, in minutes.
        max_walltime_min: Longest wall time of a job in minutes.
        max_jobs: Most jobs of a user that may wait or run at a time; None: not known.
        auto: Whether it is chosen when the user names none; the first in the file that fits is.
        note: A peculiarity worth telling the user, such as "by ticket".
    """

    name: Word
    partition: Word | None = None
    qos: Word | None = None
    min_nodes: WrittenPositiveInt = 1
    max_nodes: WrittenPositiveInt
    min_walltime_min: WrittenPositiveInt = 1
    max_walltime_min: WrittenPositiveInt
    max_jobs: WrittenPositiveInt | None = None
    auto: bool = True
    note: Line = ""

    def __post_init__(self) -> None:
        if self.partition is None and self.qos is None:
            raise ValueError(f"partition {self.name!r} names neither partition nor qos")
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"partition {self.name!r} has min_nodes above max_nodes")
        if self.min_walltime_min > self.max_walltime_min:
            raise ValueError(f"partition {self.name!r} has min_walltime_min above its maximum")

    @property
    def limits(self) -> str:
        """The limits in words: `large (1-2048 nodes, 2-00:00:00)`."""
        walltime = format_walltime(self.max_walltime_min)
        if self.min_walltime_min > 1:
            walltime = f"{format_walltime(self.min_walltime_min)} to {walltime}"
        return f"{self.name} ({self.min_nodes}-{self.max_nodes} nodes, {walltime})"


class Slurm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the site wants to see in a script.

    Attributes:
        launcher: The command that starts the ranks.
        launcher_options: Words after the launcher, before the program.
        mpi: The MPI family whose variables count.
        template: File in the templates folder, or the path of one.
        prologue: Shell script of the site that a job reads first, before it loads modules.
        epilogue: Shell script of the site that a job runs at its end, however it ends.
        module_purge: Whether modules that the user has loaded are unloaded first.
        module_folders: Folders of further modules, for `module use`.
        modules: Environment modules to load, in this order.
        environment: Environment variables that the site needs, set after its modules; what
            hvdtrain sets itself comes later.
        directives: Directives always given, such as `chdir = "."`; value "" for a bare flag.
        forbidden: Directives that the site rejects, with the reason.
        account_required: Whether a job without an account is refused.
        requeue: Whether a job may put itself back into the queue.
        stage_by: How training data comes to the nodes. `parallel-read`: every node reads the
            shared file system; `sbcast`: Slurm passes the large files on from node to node.
        max_array_tasks: Most tasks of a job array; Slurm's own limit unless the site has another.
            A site without arrays forbids the directive `array`.
    """

    launcher: Launcher
    launcher_options: tuple[Line, ...] = ()
    mpi: MpiFamily
    template: Line = "slurm.sh.j2"
    prologue: FilePath | None = None
    epilogue: FilePath | None = None
    module_purge: bool = False
    module_folders: tuple[Folder, ...] = ()
    modules: tuple[Module, ...] = ()
    environment: dict[VariableName, Line] = {}
    directives: dict[DirectiveName, Line] = {}
    forbidden: dict[DirectiveName, Line] = {}
    account_required: bool = False
    requeue: bool = True
    stage_by: StageBy = "parallel-read"
    max_array_tasks: WrittenPositiveInt = 1001


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cluster, or one kind of node of it.

    Attributes:
        name: What `--system` calls it; the file's name.
        title: Full name, with the centre that runs it.
        cluster: What Slurm calls the cluster, its ClusterName; None: not known.
        switched_off: When it was taken out of service, in words; empty: it runs.
        source: Where the facts come from.
        checked: When they were last compared with the source, as YYYY-MM or YYYY-MM-DD.
        unverified: Paths of facts without a primary source, such as `node.numbering`.
        notes: Honest limits and peculiarities, for people.
        node: The hardware of a node.
        cores: How ranks share the cores of a node.
        slurm: The script's peculiarities; None: no scheduler, as on `local`.
        partition: The ways to submit, in order of preference.
        step_time: Fitted step time; None: nothing was measured on this system.
    """

    name: Name
    title: Line
    cluster: Word | None = None
    switched_off: Line = ""
    source: Line
    checked: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?\Z")]
    unverified: tuple[Line, ...] = ()
    notes: tuple[Line, ...] = ()
    node: Node
    cores: Cores
    slurm: Slurm | None = None
    partition: tuple[Partition, ...] = ()
    step_time: StepTime | None = None

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.partition]
        if len(set(names)) < len(names):
            raise ValueError(f"system {self.name!r} has two partitions of one name")
        if self.slurm is not None and not any(entry.auto for entry in self.partition):
            raise ValueError(f"system {self.name!r} has a scheduler and no automatic partition")


def system_files(user_folder: Path | None) -> dict[str, Path]:
    """Name to file of every system; files in the user's folder take precedence.

    Args:
        user_folder: The user's own folder; None or missing: only the shipped systems.
    """
    folders = [resource_folder("systems"), *([user_folder] if user_folder else [])]
    return {
        file.stem: file
        for folder in folders
        for file in (sorted(folder.glob("*.toml")) if folder.is_dir() else ())
    }


def load_system(name: str, user_folder: Path | None = None) -> System:
    """The system called `name`.

    Raises:
        InputError: No such system, or its file does not fit; the message names the field.
    """
    files = system_files(user_folder)
    if name not in files:
        raise unknown_name("--system", name, sorted(files))
    system = load_toml(files[name], System)
    if system.name != name:
        raise InputError(f"{files[name]}: name", system.name, f"the file's own name, {name!r}")
    return system
