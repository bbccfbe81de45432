"""What the user asks of a job: options of the command line, a TOML file, or both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.fields import (
    LONGEST_JOB_NAME,
    require_directive_name,
    require_line,
    require_name,
    require_word,
)
from hvdtrain.files.numbers import Epochs, WrittenPositiveInt
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.units import parse_walltime_min

# Directives that the plan decides. Setting one is another way to give its option.
_OPTION_OF = {
    "nodes": "nodes",
    "ntasks-per-node": "ranks_per_node",
    "time": "walltime",
    "partition": "partition",
    "qos": "qos",
    "account": "account",
    "job-name": "job_name",
}
_WHOLE_NUMBERS = ("nodes", "ranks_per_node")


SYNTHETIC = "synthetic"
"""What `--data` calls images that are made up. Nobody gets them without asking."""

DATA_VARIABLE = "HVDTRAIN_DATA"
"""Where a job looks for the folder of its data when the script names none."""


class JobRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job as the user wants it. What is None follows from the system and the paper.

    Attributes:
        system: The cluster.
        nodes: Nodes; the one thing that must be given.
        partition: Partition or QOS, by its name in the system file.
        ranks_per_node: MPI ranks on a node.
        node_batch: Images that a node computes at once. Source: the paper's 49,152 run, 32.
        accumulate: How many such batches make one update: times as large is the global batch.
        recipe: Name of a shipped recipe, or path of a file.
        epochs: Stretches the recipe to this many.
        model: What is trained; only in a file.
        data: Folder of the training data on the cluster, or `synthetic`; None: the job reads
            the folder from HVDTRAIN_DATA, and stops at once where that is not set.
        walltime: As Slurm writes it.
        account: Slurm's account.
        qos: Slurm's QOS.
        job_name: Slurm's job name, also the beginning of the run's folder.
        results: Folder of the results.
        comm_cores: Cores of a node that only communicate.
        preflight: Whether the ranks check each other and their nodes before they train.
        attest: Whether a thread that is not where the core map has it ends the job.
        template: Name of a shipped template, or path of a file.
        set_directives: #SBATCH directives to add or replace, long names; "" is a bare flag.
        unset_directives: #SBATCH directives to leave out.
    """

    system: str = "stampede2-knl"
    nodes: WrittenPositiveInt | None = None
    partition: str | None = None
    ranks_per_node: WrittenPositiveInt | None = None
    node_batch: WrittenPositiveInt = 32
    accumulate: WrittenPositiveInt = 1
    recipe: str | None = None
    epochs: Epochs | None = None
    model: ModelSpec = ModelSpec()
    data: str | None = None
    walltime: str | None = None
    account: str | None = None
    qos: str | None = None
    job_name: str | None = None
    results: str = "results"
    comm_cores: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    preflight: bool = True
    attest: bool = True
    template: str | None = None
    set_directives: dict[str, str] = msgspec.field(default_factory=dict, name="set")
    unset_directives: tuple[str, ...] = msgspec.field(default=(), name="unset")

    @property
    def is_synthetic(self) -> bool:
        """Whether the images are made up."""
        return self.data == SYNTHETIC

    @property
    def walltime_min(self) -> int | None:
        """Minutes asked for; None: none.

        Raises:
            InputError: Not a wall time.
        """
        return None if self.walltime is None else parse_walltime_min(self.walltime, "--walltime")


def override_request(
    request: JobRequest,
    options: Mapping[str, Any],
    settings: Sequence[str] = (),
    unset: Sequence[str] = (),
) -> JobRequest:
    """The request with the options of the command line in place of what the file says.

    Args:
        request: From the file, or an empty one.
        options: Fields of `JobRequest`; None: not given.
        settings: `KEY=VALUE` or `KEY`, of `--set`.
        unset: `KEY`, of `--unset`.

    Raises:
        InputError: A directive is given twice, or both set and unset.
    """
    given = {name: value for name, value in options.items() if value is not None}
    added = dict(_split_setting(setting) for setting in settings)
    if len(added) < len(settings):
        raise InputError("--set", " ".join(settings), "each directive once")
    both = sorted(added.keys() & set(unset))
    if both:
        raise InputError("--unset", both[0], f"a directive that --set {both[0]} does not give")
    kept = {key: value for key, value in request.set_directives.items() if key not in unset}
    kept_unset = [key for key in request.unset_directives if key not in added]
    return msgspec.structs.replace(
        request,
        **given,
        set_directives={**kept, **added},
        unset_directives=(*kept_unset, *unset),
    )


def check_request(request: JobRequest) -> JobRequest:
    """The request with every text checked and every directive of the plan moved to its option.

    Raises:
        InputError: A name or path that cannot go into a script, or a directive that contradicts
            an option.
    """
    request = _options_from_directives(request)
    for field, text in (("--account", request.account), ("--qos", request.qos)):
        if text is not None:
            require_word(field, text)
    if request.job_name is not None:
        require_name("--job-name", request.job_name, LONGEST_JOB_NAME)
    for field, text in (
        ("--data", request.data),
        ("--results", request.results),
        ("--recipe", request.recipe),
        ("--template", request.template),
    ):
        if text is not None:
            require_line(field, text)
    for key in request.unset_directives:
        require_directive_name("--unset", key)
    for key, value in request.set_directives.items():
        require_directive_name("--set", key)
        if value:
            require_line(f"--set {key}", value)
    return request


def _split_setting(setting: str) -> tuple[str, str]:
    key, _, value = setting.partition("=")
    return key, value


def _options_from_directives(request: JobRequest) -> JobRequest:
    options: dict[str, Any] = {}
    for key, text in request.set_directives.items():
        field = _OPTION_OF.get(key)
        if field is None:
            continue
        option = "--" + field.replace("_", "-")
        value = _whole_number(option, text) if field in _WHOLE_NUMBERS else text
        if getattr(request, field) not in (None, value):
            raise InputError(f"--set {key}", text, f"the same as {option}", f"give only {option}")
        options[field] = value
    others = {key: value for key, value in request.set_directives.items() if key not in _OPTION_OF}
    return msgspec.structs.replace(request, **options, set_directives=others)


def _whole_number(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise InputError(option, text, "a whole number")
    return int(text)
