"""`hvdtrain config`: a user's defaults are kept, checked, and come after all that was said."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.cli.config import Config, config_folder, load_config
from hvdtrain.cli.defaults import choose_system, with_defaults
from hvdtrain.commands.config import command
from hvdtrain.commands.render_job import command as render_job
from hvdtrain.commands.status import command as status
from hvdtrain.errors import InputError
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system

PROGRAM = ("--hvdtrain", "/opt/hvdtrain/bin/hvdtrain")
SYNTHETIC = ("--data", "synthetic")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SLURM_CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "hvdtrain").mkdir()
    return tmp_path / "hvdtrain"


def config(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def render(*words: str) -> Result:
    return CliRunner().invoke(render_job, [*words, *PROGRAM], catch_exceptions=False)


def test_a_value_is_kept_shown_and_removed(home: Path) -> None:
    assert config("set", "account", "ab-12").stdout == ""
    config("set", "mail_user", 'me "x" @ü.example')
    assert tomllib.loads((home / "config.toml").read_text()) == {
        "account": "ab-12",
        "mail_user": 'me "x" @ü.example',
    }
    shown = {entry["key"]: entry for entry in json.loads(config("--json").stdout)}
    assert shown.keys() == set(Config.__struct_fields__)
    assert shown["account"]["value"] == "ab-12"
    assert shown["account"]["source"] == str(home / "config.toml")
    assert shown["system"] == {"key": "system", "value": None, "source": ""}
    config("unset", "account")
    assert load_config() == Config(mail_user='me "x" @ü.example')


def test_a_folder_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config("set", "results", "runs")
    config("set", "data", "~/imagenet")
    assert load_config() == Config(results=f"{tmp_path}/runs", data="/home/me/imagenet")
    config("set", "data", "synthetic")
    assert load_config().data == "synthetic"
    assert CliRunner().invoke(status, ["--json"], catch_exceptions=False).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "account", "a b"), "config.toml: account"),
        (("set", "mail_user", "a\nb"), "config.toml: mail_user"),
        (("set", "data", "$NOWHERE/x"), "a path without variables"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    home: Path, words: tuple[str, ...], said: str
) -> None:
    config("set", "qos", "long")
    before = (home / "config.toml").read_text()
    with pytest.raises(InputError, match=said):
        config(*words)
    assert (home / "config.toml").read_text() == before


def test_a_home_without_the_folder_gets_one(home: Path) -> None:
    home.rmdir()
    config("set", "account", "x")
    assert load_config().account == "x"
    assert config_folder() == home


def test_the_order_is_option_job_file_variable_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(*words: str) -> str:
        lines = render("--nodes", "4", *SYNTHETIC, *words).stdout.splitlines()
        (line,) = [line for line in lines if line.startswith("#SBATCH --account=")] or [""]
        return line.removeprefix("#SBATCH --account=")

    file = tmp_path / "job.toml"
    file.write_text('account = "file"\n')
    assert account() == ""
    config("set", "account", "config")
    assert account() == "config"
    monkeypatch.setenv("SBATCH_ACCOUNT", "variable")
    assert account() == "variable"
    assert account("--job", str(file)) == "file"
    assert account("--job", str(file), "--account", "option") == "option"
    assert account("--unset", "account") == ""
    assert account("--set", "account=directive") == "directive"


def test_the_partition_of_one_cluster_is_not_asked_of_another() -> None:
    chosen = Config(system="stampede3-skx", partition="skx-dev", account="x")
    own = with_defaults(JobRequest(), load_system("stampede3-skx"), chosen, {})
    assert (own.partition, own.account) == ("skx-dev", "x")
    other = with_defaults(JobRequest(), load_system("lumi-c"), chosen, {})
    assert (other.partition, other.account) == (None, "x")
    environ = {"SBATCH_PARTITION": "debug", "HVDTRAIN_DATA": "/data"}
    given = with_defaults(JobRequest(), load_system("lumi-c"), Config(data="/mine"), environ)
    assert (given.partition, given.data) == ("debug", None)
    unknown = with_defaults(
        JobRequest(), load_system("lumi-c"), Config(), {"SBATCH_PARTITION": "skx"}
    )
    assert unknown.partition is None


def test_mail_is_asked_for_unless_the_job_says_something_else() -> None:
    mail = Config(mail_user="me@example.org", mail_type="END,FAIL")
    system = load_system("stampede2-knl")
    request = JobRequest(set_directives={"mail-type": "ALL"}, unset_directives=("mail-user",))
    assert with_defaults(JobRequest(), system, mail, {}).set_directives == {
        "mail-user": "me@example.org",
        "mail-type": "END,FAIL",
    }
    assert with_defaults(request, system, mail, {}).set_directives == {"mail-type": "ALL"}


SYSTEM = """
name = "{name}"
title = "A cluster"
cluster = "{cluster}"
source = "the test"
checked = "2026-11"
node = {{ processor = "p", sockets = 1, cores_per_socket = 8, threads_per_core = 1, \
numbering = "block", avx512 = "none", memory_gb = 1 }}
cores = {{ comm_cores = 1, source = "the test" }}
slurm = {{ launcher = "srun", mpi = "intel" }}
partition = [{{ name = "p", partition = "p", max_nodes = 9, max_walltime_min = 60 }}]
"""


def test_the_system_is_the_one_that_this_runs_on(tmp_path: Path) -> None:
    def choose(cluster: str | None, config: Config = Config()) -> tuple[str, str]:  # noqa: B008
        choice = choose_system(None, config, tmp_path, lambda: cluster)
        return choice.system, choice.note

    for name, cluster in (("ours", "here"), ("one", "mixed"), ("two", "mixed")):
        (tmp_path / f"{name}.toml").write_text(SYSTEM.format(name=name, cluster=cluster))
    assert choose("here") == ("ours", "no --system: ours, the cluster that this runs on")
    assert choose(None)[0] == choose("elsewhere")[0] == "stampede2-knl"
    assert choose("mixed", Config(system="two")) == ("two", "")
    with pytest.raises(InputError, match="one of one, two: this cluster, mixed, has several"):
        choose("mixed")
    assert choose_system("lumi-c", Config(), tmp_path, lambda: "mixed").system == "lumi-c"


def test_a_choice_that_nobody_made_is_said() -> None:
    said = render("--nodes", "4", *SYNTHETIC)
    assert "note: no --system: stampede2-knl, the paper's" in said.stderr
    config("set", "system", "stampede2-knl")
    assert "no --system" not in render("--nodes", "4", *SYNTHETIC).stderr
    assert render("--nodes", "4", *SYNTHETIC).stdout == said.stdout
