"""Anything as an option, a job file or a system file: a whole script or a refusal, and no more.

The cases run in one process; every fortieth script that comes out is really run, with launchers
that only record.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.cli.defaults import PAPERS_SYSTEM
from hvdtrain.commands.render_job import command
from hvdtrain.errors import InputError
from hvdtrain.files.decode import convert, decode_toml
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System, load_system
from hvdtrain.slurm.render import render_script
from tests.slurm.cases import SHARES, cases
from tests.slurm.sandbox import make_program, run_script
from tests.slurm.test_injection import HOSTILE, PIECES, assert_nothing_ran

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ["stampede2-knl", "marenostrum4", "archer2", "leonardo-dcgp", "local"]
LAST_LINE = 'wait_for "$ranks"\n'

NUMBER = st.one_of(
    st.integers(-3, 5000),
    st.sampled_from([0, -1, 2**31, 2**63, 10**25, 1536]),
    st.floats(allow_nan=True, allow_infinity=True),
)
SENSIBLE = st.sampled_from(
    ["normal", "large", "me", "linear-90", "step-90", "synthetic", "/data", "results", "01:00:00"]
)
TEXT = st.one_of(HOSTILE, SENSIBLE, st.text(max_size=20))
WORD = TEXT.filter(lambda text: "\x00" not in text)  # no command line can hold one
VALUE = st.recursive(
    st.one_of(TEXT, NUMBER, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=4,
)
OPTIONS = st.sampled_from(
    [
        *("--system", "--partition", "--ranks-per-node", "--comm-cores", "--node-batch"),
        *("--accumulate", "--recipe", "--epochs", "--data", "--results", "--walltime"),
        *("--account", "--qos", "--job-name", "--set", "--unset", "--template", "--hvdtrain"),
        *("--job", "--systems-dir", "--json", "--explain", "--nodes", "--nothing"),
    ]
)


def fuzz(name: str) -> settings:
    """The same cases every time: a test that fails by chance says nothing about a change."""
    return settings(max_examples=cases(name), deadline=None, derandomize=True)


class Sample:
    """Runs one script in forty: a whole run takes as long as making fifty."""

    def __init__(self) -> None:
        self._made = 0

    def check(self, script: str) -> None:
        assert script.startswith("#!/bin/bash\n#SBATCH ")
        assert script.endswith(LAST_LINE)
        assert "\x00" not in script
        self._made += 1
        if self._made % 40 == 0:
            with tempfile.TemporaryDirectory() as folder:
                make_program(Path(folder) / "hvdtrain")
                run_script(script, Path(folder), HVDTRAIN=f"{folder}/hvdtrain")
                assert_nothing_ran(Path(folder))


SAMPLE = Sample()


@pytest.mark.timeout(600)
@fuzz("options")
@given(
    st.lists(st.tuples(OPTIONS, st.one_of(WORD, NUMBER.map(str))), max_size=4),
    st.sampled_from(["2", "300", "1536"]),
    st.booleans(),
)
def test_any_options(options: list[tuple[str, str]], nodes: str, plain: bool) -> None:
    words = ["--nodes", nodes]
    for option, value in options:
        words += [option] if option in ("--json", "--explain") else [option, value]
    runner = CliRunner(env={"HVDTRAIN_SYSTEMS": None, "XDG_CONFIG_HOME": "/nowhere"})
    done = runner.invoke(command, words if plain else ["--data", "/d", *words])
    if done.exit_code == 0:
        if "--json" in words:
            msgspec.json.decode(done.stdout)
        elif "--template" not in words:
            SAMPLE.check(done.stdout)
        return
    assert done.stdout == ""
    # Wrong input is an InputError, which the command line turns into exit code 2, or click's.
    assert isinstance(done.exception, InputError) or done.exit_code == 2, done.exception


def render(request: JobRequest, system: System) -> str | None:
    try:
        return render_script(make_job(request, system, ScriptOrigin(command="c", hvdtrain="/h")))
    except InputError:
        return None


def check_job(raw: object) -> None:
    try:
        request = convert(raw, JobRequest, "job.toml")
        system = load_system(request.system or PAPERS_SYSTEM)
    except InputError:
        return
    script = render(request, system)
    if script is not None and request.template is None:
        SAMPLE.check(script)


@pytest.mark.timeout(600)
@fuzz("job files")
@given(
    st.dictionaries(st.sampled_from(JobRequest.__struct_encode_fields__), VALUE, max_size=4),
    st.dictionaries(TEXT, VALUE, max_size=1),
    st.sampled_from(SYSTEMS),
)
def test_any_job_file(known: dict[str, Any], unknown: dict[str, Any], system: str) -> None:
    check_job({"nodes": 2, "system": system, **known})
    check_job({"nodes": 2, **known, **unknown})


@pytest.mark.timeout(600)
@fuzz("texts")
@given(st.text(max_size=40), st.lists(st.sampled_from([*PIECES, "nodes", "=", "2", "[x]", "\n"])))
def test_any_text_as_a_job_file(text: str, pieces: list[str]) -> None:
    for content in (text, "".join(pieces)):
        try:
            check_job(tomllib.loads(content))
        except ValueError:
            try:
                decode_toml(content, JobRequest, "job.toml")
            except InputError:
                continue
            raise AssertionError("what is no TOML was taken") from None


def places(
    value: dict[str, Any] | list[Any], path: tuple[str | int, ...] = ()
) -> list[tuple[str | int, ...]]:
    """Every place in a nested structure."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        nested = isinstance(inner, dict | list)
        found += places(inner, (*path, key)) if nested else [(*path, key)]
    return found


RAW: dict[str, Any] = {name: msgspec.to_builtins(load_system(name)) for name in SYSTEMS}
PLACES = [(name, place) for name in SYSTEMS for place in places(RAW[name])]


@pytest.mark.timeout(600)
@fuzz("system files")
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUE), min_size=1, max_size=2))
def test_any_system_file(changes: list[tuple[tuple[str, tuple[str | int, ...]], Any]]) -> None:
    name = changes[0][0][0]
    raw = msgspec.json.decode(msgspec.json.encode(RAW[name]))
    for (other, place), value in changes:
        if other != name:
            continue
        try:
            target = raw
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = value
        except (TypeError, LookupError):  # the first change took the second one's place away
            continue
    try:
        system = convert(raw, System, "file")
    except InputError:
        return
    script = render(JobRequest(nodes=256, data="/d"), system)
    if script is not None and "/" not in (system.slurm.template if system.slurm else ""):
        SAMPLE.check(script)


def test_ci_runs_ten_thousand_cases() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (total,) = re.findall(r"^export HVDTRAIN_CASES=(\d+)$", script, re.MULTILINE)
    assert int(total) >= 10_000
    assert sum(SHARES.values()) == 100
