from __future__ import annotations

import pytest

from hvdtrain.checks.check import Status
from hvdtrain.checks.place import judge_glibc, judge_place, judge_quota

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 nas:/home rw
31 22 0:41 / /scratch rw master:2 - lustre mgs:/scratch rw
32 22 0:42 / /home/me/my\\040disk rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("name", "status"),
    [("glibc 2.28", "ok"), ("glibc 2.36", "ok"), ("glibc 2.17", "fail"), ("", "fail")],
)
def test_the_c_library(name: str, status: Status) -> None:
    assert judge_glibc(name).status == status


@pytest.mark.parametrize(
    ("prefix", "packed", "status", "detail"),
    [
        ("/opt/venv", False, "ok", "/opt/venv on ext4"),
        ("/home/me/.venv", False, "warn", "on nfs4: every rank loads it from there"),
        ("/scratch/me/.venv", False, "warn", "on lustre"),
        ("/scratch/me/.venv", True, "ok", "on lustre, and packed for the nodes"),
        ("/home/me/my disk/.venv", False, "ok", "on tmpfs"),
        ("/homes/.venv", False, "ok", "on ext4"),
    ],
)
def test_where_the_installation_lies(
    prefix: str, packed: bool, status: Status, detail: str
) -> None:
    check = judge_place(prefix, MOUNTS, packed=packed)
    assert check.status == status
    assert detail in check.detail
    assert check.fix == ("hvdtrain pack" if status == "warn" else "")


HEAD = "Disk quotas for user me (uid 1):\n Filesystem  blocks  quota  limit  grace  files\n"


@pytest.mark.parametrize(
    ("lines", "status", "detail"),
    [
        ("", "ok", "none"),
        ("nas:/home 100 0 0 0 1 0 0 0\n", "ok", "none"),
        ("nas:/home 1000000 8000000 10000000 0 1 0 0\n", "ok", "nas:/home leaves 9216 MB"),
        ("nas:/home 9000000* 8000000 9500000 6days 1 0 0\n", "warn", "leaves 512 MB"),
        ("nas:/home 1 8000000 0 0\nnas:/w 9 10 0 0\n", "warn", "nas:/w leaves 0 MB"),
    ],
)
def test_what_the_quota_leaves(lines: str, status: Status, detail: str) -> None:
    check = judge_quota(HEAD + lines)
    assert check.status == status
    assert detail in check.detail
