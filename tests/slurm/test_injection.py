"""Rendered scripts really run, with hostile values, and nothing but the launcher is executed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hvdtrain.cli.defaults import PAPERS_SYSTEM
from hvdtrain.errors import InputError
from hvdtrain.files.decode import convert
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System, load_system
from hvdtrain.slurm.render import render_script
from tests.slurm.cases import cases
from tests.slurm.sandbox import make_program, run_script

# What would leave a trace if any of it were executed.
PIECES = [
    *("$(touch TRACE)", "`touch TRACE`", ";touch TRACE;", "&&touch TRACE", "|touch TRACE"),
    *("\ntouch TRACE\n", ">TRACE", "${TRACE:=x}", "$((TRACE))", "<(touch TRACE)", "\x00"),
    *("'", '"', "\\", " ", "#", "*", "?", "~", "!", "{{", "}}", "{%", "%}", "-", "--", "é", "a"),
    *("${x}}", "'}", "EOF", "\t", "\r", "[", "]", "=", "\u2028"),
]
HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)


def with_staging(system: System, staging: Path) -> System:
    node = msgspec.structs.replace(system.node, staging=str(staging))
    return msgspec.structs.replace(system, node=node)


def folders(root: Path, hostile: str) -> tuple[Path, Path, Path]:
    """Data, staging and program at places with hostile names."""
    data, staging = root / f"in{hostile}", root / f"ram{hostile}"
    for path in (data, staging):
        path.mkdir()
    (data / "train-00000-of-00001").write_text("images")
    return data, staging, make_program(root / f"opt{hostile}" / "hvdtrain")


def assert_nothing_ran(root: Path) -> None:
    assert not [path for path in root.rglob("*") if path.name.startswith("TRACE")]


@pytest.mark.timeout(600)
@settings(max_examples=cases("run paths"), deadline=None, derandomize=True)
@given(
    st.sampled_from(["stampede2-knl", "marenostrum4", "lumi-c"]),
    HOSTILE,
    HOSTILE,
    HOSTILE,
)
def test_hostile_paths_reach_the_ranks_as_they_are(
    name: str, path: str, results: str, note: str
) -> None:
    assume("/" not in path + results and "\x00" not in path + results)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data, staging, program = folders(root, path)
        request = JobRequest(
            nodes=2,
            account="me",
            data=str(data),
            results=f"results{results}",
            set_directives={"comment": note},
        )
        origin = ScriptOrigin(command=f"hvdtrain {path}", hvdtrain=str(program))
        try:
            plan = make_job(request, with_staging(load_system(name), staging), origin)
            script = render_script(plan)
        except InputError:
            # Refused only what no line of a script can hold.
            assert any(not char.isprintable() for char in path + results + note)
            assert_nothing_ran(root)
            return
        outcome = run_script(script, root)
        assert outcome.exit_code == 0, outcome.output
        assert_nothing_ran(root)
        given_words = dict(zip(outcome.words[1::2], outcome.words[2::2], strict=True))
        assert given_words["--results"] == f"results{results}"
        assert (root / "work" / f"results{results}").is_dir()
        staged = Path(given_words["--data"])
        assert staged.parent.parent == staging
        # The ranks saw a private copy, and it is gone.
        assert (outcome.record / "data" / "train-00000-of-00001").read_text() == "images"
        assert (outcome.record / "mode").read_text() == "700\n"
        assert list(staging.iterdir()) == []


@pytest.mark.timeout(600)
@settings(max_examples=cases("names"), deadline=None, derandomize=True)
@given(
    st.sampled_from(
        ["account", "qos", "job_name", "partition", "recipe", "template", "walltime", "system"]
    ),
    HOSTILE,
)
def test_hostile_names_are_refused(field: str, hostile: str) -> None:
    fields: dict[str, Any] = {"nodes": 2, field: hostile}
    request = JobRequest(**fields)
    try:
        system = load_system(request.system or PAPERS_SYSTEM)
        plan = make_job(request, system, ScriptOrigin(command="c", hvdtrain="h"))
        script = render_script(plan)
    except InputError:
        return
    # What got through is a harmless name.
    assert set(hostile) <= set("aEOF-")
    assert f"={hostile}\n" in script


@pytest.mark.timeout(600)
@settings(max_examples=cases("run system files"), deadline=None, derandomize=True)
@given(
    st.sampled_from(
        [
            ("title",),
            ("source",),
            ("name",),
            ("node", "staging"),
            ("node", "processor"),
            ("slurm", "modules"),
            ("slurm", "launcher_options"),
            ("slurm", "directives"),
            ("slurm", "template"),
            ("partition", "name"),
            ("partition", "note"),
            ("step_time", "source"),
        ]
    ),
    HOSTILE,
)
def test_hostile_system_files_run_nothing(place: tuple[str, ...], hostile: str) -> None:
    raw: dict[str, Any] = msgspec.to_builtins(load_system("marenostrum4"))
    target: Any = raw
    for key in place[:-1]:
        target = target[key][2] if key == "partition" else target[key]
    match place:
        case ("slurm", "modules" | "launcher_options"):
            target[place[-1]] = [hostile]
        case ("slurm", "directives"):
            target["directives"] = {"comment": hostile}
        case ("node", "staging"):
            target["staging"] = f"/nowhere{hostile}"
        case _:
            target[place[-1]] = hostile
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").mkdir()
        program = make_program(root / "hvdtrain")
        try:
            system = convert(raw, System, "file")
            request = JobRequest(nodes=512, data=str(root / "data"))
            plan = make_job(request, system, ScriptOrigin(command="c", hvdtrain=str(program)))
            script = render_script(plan)
        except InputError:
            return
        run_script(script, root)
        assert_nothing_ran(root)


@pytest.fixture
def script(tmp_path: Path) -> str:
    data, staging, program = folders(tmp_path, "")
    plan = make_job(
        JobRequest(nodes=2, data=str(data)),
        with_staging(load_system("stampede2-knl"), staging),
        ScriptOrigin(command="c", hvdtrain=str(program)),
    )
    return render_script(plan)


def test_the_exit_status_is_that_of_the_ranks(script: str, tmp_path: Path) -> None:
    assert run_script(script, tmp_path, TRAIN_EXIT="3", END_EXIT="1").exit_code == 3
    assert list((tmp_path / "ram").iterdir()) == []


def test_the_preflight_comes_first_with_the_options_of_the_training(
    script: str, tmp_path: Path
) -> None:
    outcome = run_script(script, tmp_path)
    assert outcome.preflight[1:] == outcome.words[1:]
    failed = run_script(script, tmp_path / "failed", PREFLIGHT_EXIT="1")
    assert (failed.exit_code, failed.words) == (1, ())
    assert list((tmp_path / "ram").iterdir()) == []


def test_a_job_without_preflight_trains_at_once(tmp_path: Path) -> None:
    data, staging, program = folders(tmp_path, "")
    plan = make_job(
        JobRequest(nodes=2, data=str(data), preflight=False, attest=False),
        with_staging(load_system("stampede2-knl"), staging),
        ScriptOrigin(command="c", hvdtrain=str(program)),
    )
    outcome = run_script(render_script(plan), tmp_path, PREFLIGHT_EXIT="1")
    assert (outcome.exit_code, outcome.preflight) == (0, ())
    assert "--no-attest" in outcome.words


def test_a_site_has_its_say_first_and_last_and_names_the_nodes_folder(tmp_path: Path) -> None:
    data, staging, program = folders(tmp_path, "")
    first, last = tmp_path / "a site's first.sh", tmp_path / "last.sh"
    first.write_text('[ "$never_set" ] || echo "first $-"; export TEST_ROOM="$TEST_HOME/ram"\n')
    last.write_text('echo "last $(ls -- "$TEST_ROOM" | wc -l)"; exit 9\n')
    system = load_system("stampede2-knl")
    assert system.slurm is not None
    slurm = msgspec.structs.replace(system.slurm, prologue=str(first), epilogue=str(last))
    node = msgspec.structs.replace(system.node, staging="$TEST_ROOM")
    system = msgspec.structs.replace(system, slurm=slurm, node=node)
    origin = ScriptOrigin(command="c", hvdtrain=str(program))
    script = render_script(make_job(JobRequest(nodes=2, data=str(data)), system, origin))
    outcome = run_script(script, tmp_path, TRAIN_EXIT="3", TEST_HOME=str(tmp_path))
    assert outcome.exit_code == 3
    given = dict(zip(outcome.words, outcome.words[1:], strict=False))
    assert Path(given["--data"]).parent.parent == staging
    said = [line for line in outcome.output.splitlines() if line.startswith(("first", "last"))]
    # The data are gone when the epilogue runs.
    assert [line.split()[0] for line in said] == ["first", "last"]
    assert said[1] == "last 0"
    assert "the epilogue of the site has failed" in outcome.output
    first.write_text("")
    unset = run_script(script, tmp_path / "unset")
    assert (unset.exit_code, unset.words) == (1, ())
    assert "TEST_ROOM names no folder in this job" in unset.output


def test_a_restarted_job_goes_on_with_its_run(script: str, tmp_path: Path) -> None:
    first = run_script(script, tmp_path).words
    assert first[-2] == "--run-id"
    assert first[-1].endswith("-b64-7")
    assert run_script(script, tmp_path, SLURM_RESTART_COUNT="2").words[-1] == first[-1]


@pytest.mark.parametrize(
    ("sent", "exit_code", "calls"),
    [
        ("", "0", ["begin"]),
        ("", "3", ["begin", "end --requeue"]),
        # Asked to stop before the time limit, and cancelled.
        ("USR1", "85", ["begin", "end --requeue"]),
        ("TERM", "85", ["begin"]),
    ],
)
def test_a_job_that_is_cut_off_goes_back_into_the_queue_unless_it_was_cancelled(
    sent: str, exit_code: str, calls: list[str], script: str, tmp_path: Path
) -> None:
    outcome = run_script(script, tmp_path, SEND=sent, TRAIN_EXIT=exit_code)
    assert outcome.exit_code == int(exit_code), outcome.output
    run = f"--results results --run-id {outcome.words[-1]}"
    assert (outcome.record / "calls").read_text().splitlines() == [
        f"attempt {call} {run} " for call in calls
    ]
    # The next start may be on other nodes.
    assert list((tmp_path / "ram").iterdir()) == []


def test_a_job_that_is_ended_because_its_time_is_up_goes_back_into_the_queue(
    script: str, tmp_path: Path
) -> None:
    (tmp_path / "tools").mkdir()
    # What a real Slurm says of a job between SIGTERM and SIGKILL at its time limit.
    (tmp_path / "tools" / "squeue").write_text(
        '#!/bin/bash\n[[ " $* " != *%r* ]] || echo TimeLimit\n'
    )
    (tmp_path / "tools" / "squeue").chmod(0o755)
    outcome = run_script(script, tmp_path, SEND="TERM", TRAIN_EXIT="143")
    assert outcome.exit_code == 143, outcome.output
    assert "attempt end --requeue" in (outcome.record / "calls").read_text()


def test_another_job_goes_on_with_the_run_that_it_is_given(script: str, tmp_path: Path) -> None:
    outcome = run_script(script, tmp_path, HVDTRAIN_RUN_ID="that-one")
    assert outcome.words[-2:] == ("--run-id", "that-one")


def test_another_program_can_be_named(script: str, tmp_path: Path) -> None:
    (tmp_path / "opt" / "hvdtrain").unlink()
    missing = run_script(script, tmp_path)
    assert missing.exit_code == 1
    assert "set HVDTRAIN" in missing.output
    other = make_program(tmp_path / "my other" / "hvdtrain")
    assert run_script(script, tmp_path, HVDTRAIN=str(other)).exit_code == 0


def test_a_script_without_data_reads_the_folder_from_the_environment(tmp_path: Path) -> None:
    data, staging, program = folders(tmp_path, " $(touch injected)")
    plan = make_job(
        JobRequest(nodes=2),
        with_staging(load_system("stampede2-knl"), staging),
        ScriptOrigin(command="c", hvdtrain=str(program)),
    )
    script = render_script(plan)
    without = run_script(script, tmp_path / "without")
    assert (without.exit_code, without.words) == (1, ())
    assert "HVDTRAIN_DATA: the folder of the training data" in without.output
    given = run_script(script, tmp_path / "given", HVDTRAIN_DATA=str(data))
    assert given.exit_code == 0
    assert (given.record / "data" / "train-00000-of-00001").read_text() == "images"
    assert not list(tmp_path.rglob("injected"))
