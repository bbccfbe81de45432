"""What the user asks for: files, options, and how they meet."""

from __future__ import annotations

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import decode_toml
from hvdtrain.plan.job.request import JobRequest, check_request, override_request

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


def test_directives_of_both_are_merged() -> None:
    request = override_request(
        decode_toml(FILE, JobRequest, "f"),
        {},
        settings=["output=x=y", "nice"],
        unset=["exclusive"],
    )
    assert request.set_directives == {"mail-type": "END", "output": "x=y", "nice": ""}
    assert request.unset_directives == ("requeue", "exclusive")


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
