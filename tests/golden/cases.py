"""The command line of every golden script; run as a program, it writes them anew."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from hvdtrain.commands.render_job import command

FOLDER = Path(__file__).resolve().parent

_DATA = ("--data", "/scratch/imagenet")
_CASES = {
    "stampede2-knl-1": ("--nodes", "1", "--data", "synthetic"),
    "stampede2-knl-256": ("--nodes", "256", *_DATA),
    "stampede2-knl-1536": ("--nodes", "1536"),
    "stampede2-knl-4": (
        *("--nodes", "4", "--model", "small", "--image-size", "16", "--precision", "bf16"),
        *("--accumulate", "2", "--recipe", "linear-50", "--steps", "200", "--seed", "7"),
        *("--checkpoint-minutes", "5", "--checkpoint-epochs", "3", "--no-attest", "--tensorboard"),
        *("--walltime", "30", *_DATA),
    ),
    "stampede2-skx-128": (
        *("--system", "stampede2-skx", "--nodes", "128", "--ranks-per-node", "2"),
        *("--walltime", "4:00:00", *_DATA),
    ),
    "marenostrum4-256": ("--system", "marenostrum4", "--nodes", "256", *_DATA),
    "marenostrum4-512": ("--system", "marenostrum4", "--nodes", "512", "--node-batch", "16"),
    "frontera-64": ("--system", "frontera", "--nodes", "64", *_DATA),
    "stampede3-skx-64": ("--system", "stampede3-skx", "--nodes", "64"),
    "stampede3-icx-32": ("--system", "stampede3-icx", "--nodes", "32"),
    "stampede3-spr-32": ("--system", "stampede3-spr", "--nodes", "32"),
    "marenostrum5-gpp-64": (
        *("--system", "marenostrum5-gpp", "--nodes", "64", "--account", "bsc00", *_DATA),
    ),
    "leonardo-dcgp-32": ("--system", "leonardo-dcgp", "--nodes", "32", *_DATA),
    "lumi-c-64": ("--system", "lumi-c", "--nodes", "64", "--account", "project_1", *_DATA),
    "archer2-64": (
        *("--system", "archer2", "--nodes", "64", "--walltime", "12:00:00"),
        *("--account", "e05", *_DATA),
    ),
    "snellius-genoa-64": ("--system", "snellius-genoa", "--nodes", "64", *_DATA),
    "snellius-rome-64": ("--system", "snellius-rome", "--nodes", "64", *_DATA),
    "barnard-64": ("--system", "barnard", "--nodes", "64", *_DATA),
    "dardel-64": ("--system", "dardel", "--nodes", "64", "--account", "naiss", *_DATA),
    "perlmutter-cpu-64": (
        *("--system", "perlmutter-cpu", "--nodes", "64", "--set", "comment=two words", *_DATA),
    ),
}
CASES = {
    name: (*words, "--hvdtrain", "/opt/hvdtrain/bin/hvdtrain") for name, words in _CASES.items()
}


def render(words: tuple[str, ...]) -> str:
    """What `hvdtrain render-job` prints, for a user without files of their own."""
    runner = CliRunner(env={"HVDTRAIN_SYSTEMS": None, "XDG_CONFIG_HOME": "/nowhere"})
    return runner.invoke(command, words, catch_exceptions=False).stdout


if __name__ == "__main__":
    for file in FOLDER.glob("*.sh"):
        file.unlink()
    for name, words in CASES.items():
        (FOLDER / f"{name}.sh").write_text(render(words))
