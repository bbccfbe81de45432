"""Jobs that run: as tasks of an array, from inside of each other, and ended by all that Slurm has.

The ranks are scripts of the test; Slurm, the job's script and what it asks of hvdtrain are real.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.login import Login
from tests.slurm.nodes import Nodes

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

SYNTHETIC = ("--data", "synthetic")


@pytest.fixture
def login(nodes: Nodes, tmp_path: Path) -> Login:
    return Login(nodes, tmp_path)


def test_a_task_that_requeues_itself_leaves_the_other_tasks_alone(login: Login) -> None:
    # The last task has the number of the whole array as its own.
    login.ranks_do(
        'echo "$SLURM_ARRAY_TASK_ID" >>"$TEST_FOLDER/starts"\n'
        '[ "$SLURM_JOB_ID" = "$SLURM_ARRAY_JOB_ID" ] || exec sleep 8\n'
        'sleep 3; [ "${SLURM_RESTART_COUNT:-0}" != 0 ] || exit 85\n'
    )
    (login.folder / "rows.toml").write_text('name = "rows"\n[vary]\nepochs = [1, 2, 3, 4]\n')
    lines = login.hvdtrain("sweep", "rows.toml", *login.words, *SYNTHETIC).splitlines()
    jobs = [line.split()[1] for line in lines]
    ends = [login.nodes.wait_for_end(job) for job in jobs]
    assert [end["JobState"] for end in ends] == ["COMPLETED"] * 4
    assert sorted(end["Restarts"] for end in ends) == ["0", "0", "0", "1"]
    starts = (login.folder / "starts").read_text().split()
    assert sorted(starts) == sorted([*"0123", next(s for s in "0123" if starts.count(s) == 2)])
