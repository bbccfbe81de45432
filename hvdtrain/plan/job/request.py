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
from hvdtrain.files.numbers import Cores, WrittenPositiveInt
from hvdtrain.files.option_words import option_name
from hvdtrain.plan.method.model import ModelName, ModelSpec
from hvdtrain.plan.method.train_spec import NETWORK, TrainSpec, model_fields
from hvdtrain.units import parse_walltime_min

ModelChoice = Annotated[ModelName | ModelSpec, NETWORK]
"""A file may have all that chooses the model in a table: see `spread_model`."""

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


DEADLINE_RANGE = (5.0, 3600.0)
"""Seconds."""

DEADLINE_HELP = (
    "Seconds that a preflight may take once all ranks have loaded TensorFlow. Default: 55, and a "
    "tenth more for each rank."
)

SYNTHETIC = "synthetic"
"""What `--data` calls images that are made up. Nobody gets them without asking."""

DATA_VARIABLE = "HVDTRAIN_DATA"
"""Where a job looks for the folder of its data when the script names none."""


class JobRequest(TrainSpec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job as the user wants it: a training, and where it runs.

    What is None follows from the system and the paper. A file has these fields as its keys.
    """

    nodes: Annotated[WrittenPositiveInt | None, Meta(description="Nodes of the job.")] = None
    system: Annotated[
        str | None,
        Meta(
            description="The cluster: see `hvdtrain systems`. Default: the one of `hvdtrain "
            "config`, else the one that this runs on, else stampede2-knl."
        ),
    ] = None
    partition: Annotated[
        str | None,
        Meta(description="Partition or QOS of the system file. Default: the first that fits."),
    ] = None
    ranks_per_node: Annotated[
        WrittenPositiveInt | None, Meta(description="MPI ranks on a node. Default: the system's.")
    ] = None
    comm_cores: Annotated[
        Cores | None, Meta(description="Cores of a node that only communicate.")
    ] = None
    # Source: the paper's run of batch 49,152.
    node_batch: Annotated[
        WrittenPositiveInt, Meta(description="Images that a node computes at once.")
    ] = 32
    model: ModelChoice = "resnet50"  # type: ignore[assignment]
    data: Annotated[
        str | None,
        Meta(
            description="Folder of TFRecord shards or images on the cluster, copied to every node "
            "when the job starts; or `synthetic`. Default: the folder that HVDTRAIN_DATA names "
            "when the job starts."
        ),
    ] = None
    results: Annotated[str, Meta(description="Folder of all runs on the cluster.")] = "results"
    walltime: Annotated[
        str | None,
        Meta(
            description="HH:MM:SS. Default: the upper end of the forecast, and the start-up; "
            "without a forecast the partition's limit."
        ),
    ] = None
    account: Annotated[str | None, Meta(description="Slurm's account.")] = None
    qos: Annotated[str | None, Meta(description="Slurm's QOS. Default: the partition's.")] = None
    job_name: Annotated[
        str | None,
        Meta(description="Slurm's name of the job. Default: system, nodes and global batch."),
    ] = None
    preflight: Annotated[
        bool,
        Meta(description="Whether the ranks check each other and their nodes before they train."),
    ] = True
    pack: Annotated[
        bool,
        Meta(
            description="Whether the ranks run from a copy of the installation on their node, "
            "where `hvdtrain pack` has made one."
        ),
    ] = True
    deadline: Annotated[
        Annotated[float, Meta(ge=DEADLINE_RANGE[0], le=DEADLINE_RANGE[1])] | None,
        Meta(description=DEADLINE_HELP),
    ] = None
    template: Annotated[
        str | None, Meta(description="Name of a shipped template, or path of your own.")
    ] = None
    set_directives: Annotated[
        dict[str, str], Meta(description="#SBATCH directives to add or replace by long names.")
    ] = msgspec.field(default_factory=dict, name="set")
    unset_directives: Annotated[
        tuple[str, ...], Meta(description="#SBATCH directives to leave out.")
    ] = msgspec.field(default=(), name="unset")

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
        spread_model(request),
        **given,
        set_directives={**kept, **added},
        unset_directives=(*kept_unset, *unset),
    )


def spread_model(request: JobRequest) -> JobRequest:
    """The request with its model in fields of its own, where a file has it in a table.

    In a table, an image size or a number of classes that is ResNet-50's own says nothing.

    Raises:
        InputError: A field is given beside the table.
    """
    table = request.model
    if not isinstance(table, ModelSpec):
        return request
    fields = model_fields(table)
    usual = ModelSpec()
    for name in ("image_size", "classes"):
        if fields[name] == getattr(usual, name):
            fields[name] = None
    unset = JobRequest()
    for name in fields.keys() - {"model"}:
        beside = getattr(request, name)
        if beside != getattr(unset, name):
            raise InputError(name, beside, "in the table model or beside it, not in both")
    return msgspec.structs.replace(request, **fields)


def check_request(request: JobRequest) -> JobRequest:
    """The request with every text checked, and all that a table or a directive says in its field.

    Raises:
        InputError: A name or path that cannot go into a script, or a directive that contradicts
            an option.
    """
    request = _options_from_directives(spread_model(request))
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
        option = option_name(field)
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
