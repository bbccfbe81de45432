"""What the user asks for: files, options, and how they meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import decode_toml, load_toml
from hvdtrain.plan.job.request import (
    JobRequest,
    check_request,
    override_request,
    spread_model,
)
from hvdtrain.plan.method.train_spec import expand_paths

FILE = """
system = "stampede2-skx"
nodes = 4
unset = ["requeue", "output"]
[set]
exclusive = ""
mail-type = "END"
"""


def test_options_override_the_file() -> None:
    request = override_request(
        decode_toml(FILE, JobRequest, "f"), {"nodes": 8, "account": "me", "qos": None}
    )
    assert (request.system, request.nodes, request.account) == ("stampede2-skx", 8, "me")


def test_every_path_of_a_file_may_begin_with_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = 'data = "~/i"\nresults = "~/r"\nrecipe = "~/x.toml"\ntemplate = "~/t.j2"\n'
    request = expand_paths(decode_toml(text, JobRequest, "f"))
    assert (request.data, request.results) == ("/home/me/i", "/home/me/r")
    assert (request.recipe, request.template) == ("/home/me/x.toml", "/home/me/t.j2")


def test_directives_of_both_are_merged() -> None:
    request = override_request(
        decode_toml(FILE, JobRequest, "f"),
        {},
        settings=["output=x=y", "nice"],
        unset=["exclusive"],
    )
    assert request.set_directives == {"mail-type": "END", "output": "x=y", "nice": ""}
    assert request.unset_directives == ("requeue", "exclusive")


def test_a_file_has_the_keys_of_a_training(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        'nodes = 4\nmodel = "small"\nimage_size = 16\nprecision = "bf16"\nseed = 3\nsteps = 9\n'
        "tensorboard = true\ncheckpoint_minutes = 5\nimages_per_epoch = 64\n"
    )
    assert load_toml(path, JobRequest) == JobRequest(
        nodes=4,
        model="small",
        image_size=16,
        precision="bf16",
        seed=3,
        steps=9,
        tensorboard=True,
        checkpoint_minutes=5.0,
        images_per_epoch=64,
    )


@pytest.mark.parametrize(
    ("table", "request_"),
    [
        ('{name = "small", image_size = 32}', JobRequest(model="small", image_size=32)),
        (
            '{name = "small", image_size = 16, classes = 3, precision = "bf16"}',
            JobRequest(model="small", image_size=16, classes=3, precision="bf16"),
        ),
        ('{version = "v1.5"}', JobRequest(model_version="v1.5")),
        # What an earlier version wrote of the usual model.
        (
            '{name = "resnet50", version = "v1", image_size = 224, classes = 1000}',
            JobRequest(),
        ),
    ],
)
def test_a_file_may_have_its_model_in_a_table(
    tmp_path: Path, table: str, request_: JobRequest
) -> None:
    path = tmp_path / "job.toml"
    path.write_text(f"model = {table}\n")
    assert spread_model(load_toml(path, JobRequest)) == request_


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ('[model]\nname = "vgg"\n', "model.name", "resnet50, small"),
        ('[model]\nnome = "small"\n', "model.nome", "image_size, name"),
        ('model = "vgg"\n', "model", "resnet50, small"),
        ("seed = -1\n", "seed", ">= 0"),
        ("steps = 0\n", "steps", ">= 1"),
        ('precision = "fp64"\n', "precision", "bf16, fp32"),
        ("checkpoint_minutes = 0\n", "checkpoint_minutes", "> 0"),
    ],
)
def test_a_wrong_key_is_named_by_its_path(tmp_path: Path, text: str, field: str, said: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        check_request(load_toml(path, JobRequest))
    assert caught.value.field == f"{path}: {field}"
    assert said in caught.value.allowed


def test_a_file_has_its_model_in_a_table_or_in_keys_and_not_in_both(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('image_size = 16\n[model]\nname = "small"\nimage_size = 16\n')
    with pytest.raises(InputError, match="not in both") as caught:
        check_request(load_toml(path, JobRequest))
    assert caught.value.field == "image_size"


def test_options_override_the_model_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('[model]\nname = "small"\nimage_size = 32\n')
    options = {"image_size": 16, "precision": "bf16"}
    request = override_request(load_toml(path, JobRequest), options)
    assert request == JobRequest(model="small", image_size=16, precision="bf16")


@pytest.mark.parametrize(("settings", "unset"), [(["nice", "nice=1"], []), (["nice=1"], ["nice"])])
def test_a_directive_is_given_once(settings: list[str], unset: list[str]) -> None:
    with pytest.raises(InputError):
        override_request(JobRequest(), {}, settings, unset)


def test_a_directive_of_the_plan_is_its_option() -> None:
    request = check_request(
        JobRequest(
            set_directives={
                "nodes": "7",
                "time": "2:00:00",
                "job-name": "n",
                "ntasks-per-node": "2",
                "partition": "large",
                "qos": "q",
                "account": "a",
                "nice": "5",
            }
        )
    )
    assert (request.nodes, request.walltime, request.job_name) == (7, "2:00:00", "n")
    assert (request.ranks_per_node, request.partition) == (2, "large")
    assert (request.qos, request.account) == ("q", "a")
    assert request.set_directives == {"nice": "5"}


def test_a_directive_of_the_plan_may_repeat_its_option_but_not_contradict_it() -> None:
    assert check_request(JobRequest(nodes=7, set_directives={"nodes": "7"})).nodes == 7
    with pytest.raises(InputError) as caught:
        check_request(JobRequest(nodes=7, set_directives={"nodes": "8"}))
    assert caught.value.field == "--set nodes"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "7\n", "٣", "9" * 9])
def test_a_number_of_nodes_is_a_number(text: str) -> None:
    with pytest.raises(InputError):
        check_request(JobRequest(set_directives={"nodes": text}))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (JobRequest(account="a b"), "--account"),
        (JobRequest(qos="q;ls"), "--qos"),
        (JobRequest(job_name="$(ls)"), "--job-name"),
        (JobRequest(job_name="a" * 65), "--job-name"),
        (JobRequest(data="/a\nb"), "--data"),
        (JobRequest(results=""), "--results"),
        (JobRequest(recipe="a\nb.toml"), "--recipe"),
        (JobRequest(template="a\x00"), "--template"),
        (JobRequest(set_directives={"a b": "c"}), "--set"),
        (JobRequest(set_directives={"A": "c"}), "--set"),
        (JobRequest(set_directives={"comment": "a\n#SBATCH --x"}), "--set comment"),
        (JobRequest(unset_directives=("a\n",)), "--unset"),
    ],
)
def test_what_cannot_go_into_a_script_is_refused(request_: JobRequest, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_request(request_)
    assert caught.value.field == field
