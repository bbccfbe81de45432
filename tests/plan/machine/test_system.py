"""The system files: they decode, they say what the facts say, and users can replace them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.machine.system import System, load_system, system_files
from hvdtrain.resources import resource_folder

SHIPPED = sorted(system_files(None))


def test_all_of_them_are_there() -> None:
    assert SHIPPED == [
        "archer2",
        "barnard",
        "dardel",
        "frontera",
        "leonardo-dcgp",
        "local",
        "lumi-c",
        "marenostrum4",
        "marenostrum5-gpp",
        "perlmutter-cpu",
        "snellius-genoa",
        "snellius-rome",
        "stampede2-knl",
        "stampede2-skx",
        "stampede3-icx",
        "stampede3-skx",
        "stampede3-spr",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_system_holds_together(name: str) -> None:
    system = load_system(name)
    facts = msgspec.to_builtins(system)
    for path in system.unverified:
        section, _, key = path.partition(".")
        if section == "partition":
            assert key in [entry.name for entry in system.partition]
        else:
            assert not key or key in facts[section], path
    assert system.node.cores % system.cores.ranks_per_node == 0
    assert system.cores.comm_cores % system.cores.ranks_per_node == 0
    # What is not certain is read from the node, and only then.
    assert (system.node.numbering == "detect") == ("node.numbering" in system.unverified) or (
        name in ("local", "stampede2-knl")
    )


@pytest.mark.parametrize(
    ("name", "partition", "max_nodes", "hours"),
    [
        ("stampede2-knl", "development", 16, 2),
        ("stampede2-knl", "normal", 256, 48),
        ("stampede2-knl", "large", 2048, 48),
        ("stampede2-knl", "long", 32, 120),
        ("stampede2-knl", "flat-quadrant", 32, 48),
        ("stampede2-skx", "skx-dev", 4, 2),
        ("stampede2-skx", "skx-normal", 128, 48),
        ("stampede2-skx", "skx-large", 868, 48),
        ("frontera", "large", 2048, 48),
        ("stampede3-skx", "skx", 256, 48),
        ("stampede3-icx", "icx", 32, 48),
        ("stampede3-spr", "spr", 32, 48),
        ("marenostrum5-gpp", "gp_ehpc", 800, 72),
        ("leonardo-dcgp", "dcgp_qos_bprod", 128, 24),
        ("lumi-c", "standard", 512, 48),
        ("archer2", "largescale", 5860, 12),
    ],
)
def test_the_limits_are_those_of_the_sites(
    name: str, partition: str, max_nodes: int, hours: int
) -> None:
    (entry,) = [entry for entry in load_system(name).partition if entry.name == partition]
    assert (entry.max_nodes, entry.max_walltime_min) == (max_nodes, hours * 60)


def write_system(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    text = (resource_folder("systems") / "stampede2-knl.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("staging", ["$TMPDIR", "/local/a folder"])
def test_a_folder_of_the_nodes_may_be_a_variable(tmp_path: Path, staging: str) -> None:
    write_system(
        tmp_path,
        "here",
        ('"stampede2-knl"', '"here"'),
        ("[node]", f'[node]\nstaging = "{staging}"'),
    )
    node = load_system("here", tmp_path).node
    assert node.staging_variable == ("TMPDIR" if staging == "$TMPDIR" else None)


@pytest.mark.parametrize("staging", ["$TMPDIR/x", "${TMPDIR}", "$1", "$(id)", "local", ""])
def test_other_folders_of_the_nodes_are_refused(tmp_path: Path, staging: str) -> None:
    write_system(
        tmp_path,
        "here",
        ('"stampede2-knl"', '"here"'),
        ("[node]", f'[node]\nstaging = "{staging}"'),
    )
    with pytest.raises(InputError, match=r"here\.toml: node\.staging"):
        load_system("here", tmp_path)


def test_a_users_file_takes_precedence(tmp_path: Path) -> None:
    write_system(tmp_path, "stampede2-knl", ("max_nodes = 256", "max_nodes = 300"))
    assert load_system("stampede2-knl", tmp_path).partition[0].max_nodes == 300
    assert load_system("stampede2-knl", tmp_path / "missing").partition[0].max_nodes == 256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('launcher = "ibrun"', 'launcher = "rsh"'), "slurm.launcher"),
        (("memory_gb = 96", "memory = 96"), "the fields here are avx512"),
        (("sockets = 1", "sockets = 0"), "node.sockets"),
        (("sockets = 1", "sockets = 1000000000"), "node.sockets"),
        (('name = "normal"', 'name = "nor mal"'), "partition[0].name"),
        (('name = "normal"', 'name = "normal\\n"'), "partition[0].name"),
        (('name = "large"', 'name = "normal"'), "two partitions of one name"),
        (("max_nodes = 256", "max_nodes = 256\nmin_nodes = 300"), "min_nodes above max_nodes"),
        (('title = "', 'title = "\\n'), "title"),
        (('modules = ["intel"', 'modules = ["intel;ls"'), "slurm.modules[0]"),
        (('modules = ["intel"', 'module_folders = ["a b"]\nmodules = ["intel"'), "module_folders"),
        (
            ("[slurm.forbidden]", '[slurm.environment]\n"A-B" = "1"\n[slurm.forbidden]'),
            "slurm.environment",
        ),
        (('mem = "', '"me m" = "'), "forbidden"),
        (("image_seconds = 0.0148777", "image_seconds = nan"), "step_time.image_seconds"),
        (("fitted_batch = [16, 32]", "fitted_batch = [32, 16]"), "step_time.fitted_batch"),
        (("error = 0.094", "error = 1.5"), "step_time.error"),
        (("image_seconds = 0.0148777", "image_seconds = [["), "not TOML"),
        (("image_seconds = 0.0148777", f"image_seconds = {'9' * 5000}"), "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_and_the_place_named(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = write_system(tmp_path, "stampede2-knl", change)
    with pytest.raises(InputError) as caught:
        load_system("stampede2-knl", tmp_path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_must_have_its_systems_name(tmp_path: Path) -> None:
    write_system(tmp_path, "mine")
    with pytest.raises(InputError) as caught:
        load_system("mine", tmp_path)
    assert caught.value.value == "stampede2-knl"


def test_a_scheduler_needs_a_partition_to_choose() -> None:
    system = load_system("stampede3-icx")
    raw = msgspec.to_builtins(system)
    for entry in raw["partition"]:
        entry["auto"] = False
    with pytest.raises(msgspec.ValidationError, match="no automatic partition"):
        msgspec.convert(raw, System)


@pytest.mark.parametrize("name", ["", "../systems/local", "/etc/passwd", "local.toml"])
def test_a_system_is_a_name_not_a_path(name: str) -> None:
    with pytest.raises(InputError):
        load_system(name)
