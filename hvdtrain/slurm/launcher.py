"""The words that start the ranks: one pure function for each launcher."""

from __future__ import annotations

from hvdtrain.plan.machine.system import Slurm


def launch_words(
    slurm: Slurm,
    nodes: int,
    ranks_per_node: int,
    cpus_per_task: str | None = None,
    *,
    one_thread: bool = False,
) -> tuple[str, ...]:
    """The launcher and its options; the program and its arguments follow.

    Args:
        slurm: The site's launcher and its own options.
        nodes: Nodes of the job.
        ranks_per_node: Ranks on each of them. `ibrun` takes the job's own number: it starts
            every rank of the job, whatever is given here.
        cpus_per_task: Hardware threads of a rank, as the job asked for them. `srun` of Slurm
            22.05 and later no longer takes them over from the job by itself.
        one_thread: Whether Slurm shall count one hardware thread of each core, as the hint
            `nomultithread` says. `srun` silently drops a hint that stands beside --cpu-bind.
    """
    options = slurm.launcher_options
    match slurm.launcher:
        case "ibrun":
            words = ["ibrun"]
        case "srun":
            words = [
                "srun",
                f"--nodes={nodes}",
                f"--ntasks={nodes * ranks_per_node}",
                f"--ntasks-per-node={ranks_per_node}",
                *([f"--cpus-per-task={cpus_per_task}"] if cpus_per_task else []),
                *(["--threads-per-core=1"] if one_thread else []),
                # The ranks pin themselves by the core map; a dead rank ends the others.
                "--cpu-bind=none",
                "--kill-on-bad-exit=1",
            ]
            options = tuple(option for option in options if not option.startswith("--hint="))
        case "mpirun":
            placement = {
                "intel": ["-ppn", str(ranks_per_node)],
                "mpich": ["-ppn", str(ranks_per_node)],
                "openmpi": ["--map-by", f"ppr:{ranks_per_node}:node", "--bind-to", "none"],
            }
            words = ["mpirun", "-n", str(nodes * ranks_per_node), *placement[slurm.mpi]]
    return (*words, *options)
