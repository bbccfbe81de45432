"""Options from the fields of a struct: they take what the struct takes, and say what it says."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.cli.options import option_group
from hvdtrain.cli.struct_options import make_struct, struct_options
from hvdtrain.commands.train import command as train
from hvdtrain.files.option_words import field_names, option_words, ordered_fields
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.method.train_spec import TrainSpec
from hvdtrain.train.options import TrainOptions


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {
        parameter.name: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name
    }


def command_of(name: str) -> click.Command:
    command: click.Command = importlib.import_module(f"hvdtrain.commands.{name}").command
    return command


def parse(words: list[str]) -> TrainOptions:
    context = click.Context(train)
    train.parse_args(context, words)
    return make_struct(TrainOptions, context.params)


@pytest.mark.parametrize(
    "name", ["train", "job.preflight", "dry_run", "render_job", "submit", "sweep"]
)
def test_every_command_takes_all_that_a_training_takes(name: str) -> None:
    assert field_names(TrainSpec) <= options_of(command_of(name)).keys()


@pytest.mark.parametrize("name", ["render_job", "submit"])
def test_every_key_of_a_job_file_is_an_option(name: str) -> None:
    directives = {"set_directives", "unset_directives"}
    assert field_names(JobRequest) - directives <= options_of(command_of(name)).keys()


@pytest.mark.parametrize(
    ("field", "short"),
    [
        ("nodes", "-N"),
        ("walltime", "-t"),
        ("account", "-A"),
        ("partition", "-p"),
        ("job_name", "-J"),
        ("qos", "-q"),
    ],
)
def test_slurms_own_short_options_are_understood(field: str, short: str) -> None:
    for name in ("render_job", "submit"):
        assert short in options_of(command_of(name))[field].opts
    # The rows of a sweep are named after it.
    assert (field == "job_name") == (field not in options_of(command_of("sweep")))


def test_a_dry_run_calls_the_batch_of_a_rank_as_train_does() -> None:
    batch = options_of(command_of("dry_run"))["rank_batch"]
    assert batch.opts == ["--rank-batch", "--batch"]
    assert batch.help == "Images that a rank computes at once. Default: 16."
    assert (
        options_of(train)["rank_batch"].help == "Images that a rank computes at once. Default: 32."
    )


@pytest.mark.parametrize("kind", [TrainOptions, JobRequest])
def test_every_option_says_what_it_is(kind: type[TrainSpec]) -> None:
    command = click.command()(
        option_group(*struct_options(kind, field_names(kind) - {"set_directives"}))(lambda: None)
    )
    for name, option in options_of(command).items():
        assert option.help and option.help.endswith("."), name
        assert option.help.count("Default:") <= 1, name
        assert option.default is None, name


def test_an_option_that_is_not_given_has_the_structs_default() -> None:
    assert parse([]) == TrainOptions()
    assert parse(["--no-attest", "--seed", "3"]) == TrainOptions(attest=False, seed=3)


@pytest.mark.parametrize(
    "words",
    [
        ["--rank-batch", "0"],
        ["--epochs", "0"],
        ["--epochs", "nan"],
        ["--epochs", "inf"],
        ["--seed", "-1"],
        ["--seed", str(2**31)],
        ["--model", "vgg"],
        ["--precision", "fp64"],
        ["--classes", "1"],
        ["--checkpoint-minutes", "0"],
        ["--steps", "1.5"],
    ],
)
def test_a_value_outside_of_its_range_is_refused(words: list[str]) -> None:
    option = words[0]
    with pytest.raises(click.UsageError) as caught:
        parse(words)
    assert option in caught.value.format_message()


_VALUES = {
    "model": st.sampled_from(["resnet50", "small"]),
    "model_version": st.sampled_from(["v1", "v1.5"]),
    "precision": st.sampled_from(["fp32", "bf16"]),
    "seed": st.integers(0, 2**31 - 1),
    "steps": st.none() | st.integers(1, 10**7),
    "epochs": st.none() | st.floats(0.001, 10_000),
    "evaluate_epochs": st.none() | st.integers(1, 10**7),
    "checkpoint_epochs": st.none() | st.integers(1, 10**7),
    "checkpoint_minutes": st.floats(0.001, 100_000),
    "rank_batch": st.integers(1, 1024),
    "recipe": st.none() | st.sampled_from(["linear-90", "/a b/c.toml"]),
    "data": st.none() | st.just("/my data"),
    "results": st.just(Path("elsewhere")),
    "attest": st.booleans(),
    "tensorboard": st.booleans(),
    "allow_change": st.booleans(),
}


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({}, optional=_VALUES))
def test_the_words_of_a_training_are_read_as_what_they_were_made_of(
    values: dict[str, object],
) -> None:
    options = make_struct(TrainOptions, values)
    words = option_words(options, {field.name for field in ordered_fields(TrainOptions)})
    assert parse([word for option in words for word in option]) == options
