"""From a job plan to the text of its script."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2
import msgspec

from hvdtrain import __version__
from hvdtrain.errors import InputError
from hvdtrain.files.fields import unknown_name
from hvdtrain.files.option_words import field_names, option_words
from hvdtrain.plan.job.directives import ONE_THREAD
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.plan.job.summary import describe_job
from hvdtrain.plan.machine.environment import Layer
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.plan.method.train_spec import TrainSpec
from hvdtrain.resources import resource_folder
from hvdtrain.slurm.launcher import launch_words
from hvdtrain.slurm.quoting import (
    comment,
    directive,
    finalize,
    join_rendered,
    quote_words,
    refuse_quoted_values,
)
from hvdtrain.units import format_bytes

SUFFIX = ".sh.j2"


class ScriptEnvironment(jinja2.Environment):
    """Jinja for shell scripts: an undefined name is an error, and every value quotes itself."""

    # What blocks, macros and super() give back has been through `finalize` already.
    concat = staticmethod(join_rendered)

    def __init__(self, loader: jinja2.BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            finalize=finalize,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters.update(comment=comment, directive=directive, words=quote_words)

    def preprocess(self, source: str, name: str | None = None, filename: str | None = None) -> str:
        """Refuse a template in which a value would not stand for itself."""
        try:
            refuse_quoted_values(source)
        except ValueError as error:
            raise jinja2.TemplateError(str(error)) from None
        return super().preprocess(source, name, filename)


def template_names() -> list[str]:
    """The shipped templates, as `--template` calls them."""
    files = resource_folder("templates").glob(f"*{SUFFIX}")
    return sorted(file.name.removesuffix(SUFFIX) for file in files)


def render_script(plan: JobPlan) -> str:
    """The whole script.

    Raises:
        InputError: The template does not exist, or does not work.
    """
    name, environment = _find_template(plan.template)
    slurm, run = plan.slurm, plan.run
    detect = plan.system.node.numbering == "detect"
    one_thread = plan.directives.get("hint") == ONE_THREAD
    try:
        return environment.get_template(name).render(
            plan=plan,
            version=__version__,
            network=run.model.network.title,
            description=describe_job(plan),
            detect=detect,
            map_names=[
                setting.name
                for layer in plan.layers
                for setting in layer.settings
                if setting.from_map
            ],
            layers=_counts(plan.layers) if detect else plan.layers,
            rank_launch=launch_words(
                slurm,
                run.nodes,
                run.ranks_per_node,
                plan.directives.get("cpus-per-task"),
                one_thread=one_thread,
            ),
            node_launch=launch_words(slurm, run.nodes, 1, one_thread=one_thread),
            train_options=train_options(plan),
            room=_room(plan.packed),
        )
    except InputError:
        raise
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InputError("--template", plan.template, f"a template that works: {error}") from None


def train_options(plan: JobPlan) -> tuple[tuple[str, ...], ...]:
    """Options of `hvdtrain train`, each with its value: where it runs, and what is not usual."""
    run = plan.run
    spec = msgspec.structs.replace(plan.request, recipe=plan.recipe)
    # The data are a folder on the nodes, whose name the script knows.
    elsewhere, always = {"data"}, {"recipe"}
    (always if spec.is_synthetic else elsewhere).add("images_per_epoch")
    return (
        ("--system", run.system),
        ("--nodes", str(run.nodes)),
        ("--ranks-per-node", str(run.ranks_per_node)),
        ("--rank-batch", str(run.rank_batch)),
        *option_words(spec, field_names(TrainSpec) - elsewhere, always),
    )


def _room(packed: Packed | None) -> str:
    """What a node must have room for while the program is unpacked there."""
    return format_bytes(packed.size_bytes + packed.unpacked_bytes) if packed else ""


def _find_template(name: str) -> tuple[str, ScriptEnvironment]:
    """The template's name for the loader, and an environment that finds it and what it extends."""
    folders = [resource_folder("templates")]
    if "/" in name or (name.endswith(".j2") and Path(name).is_file()):
        folders.insert(0, Path(name).parent)
        name = Path(name).name
    else:
        name = name.removesuffix(SUFFIX) + SUFFIX
    if not (folders[0] / name).is_file():
        raise unknown_name(
            "--template", name.removesuffix(SUFFIX), template_names(), ", or the path of a file"
        )
    return name, _environment(tuple(folders))


@functools.cache
def _environment(folders: tuple[Path, ...]) -> ScriptEnvironment:
    """One for each search path: it keeps the templates that it has compiled."""
    return ScriptEnvironment(jinja2.FileSystemLoader(folders))


def _counts(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The settings that do not depend on how the node numbers its processors."""
    kept = (
        msgspec.structs.replace(
            layer, settings=tuple(item for item in layer.settings if not item.from_map)
        )
        for layer in layers
    )
    return tuple(layer for layer in kept if layer.settings)
