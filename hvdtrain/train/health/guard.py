"""The process beside a rank that hears what it begins, and ends it when it hears nothing.

It decides by what it hears, by the kernel's word on the rank's process, and by the notes of the
other ranks' watchdogs.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from hvdtrain.train.health.notes import Note, Notes, describe_hang, describe_start

HOST_BYTES = 64

_CHECK_SECONDS = 2.0
_HEARD_SECONDS = 1.0
_STATES = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waits for a device"}


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a rank tells its watchdog.

    Attributes:
        doing: What it begins.
        count: How many such points it has come to.
        seconds: It may take so long from now on; None: the limit before goes on.
        answer_seconds: How long the other ranks have then to say where they are.
        alone: Whether it waits for no other rank meanwhile.
        start: While ranks start: `load` what they need, or `join`, where the time counts only
            from when all ranks are there.
        join_seconds: The limit from then on.
    """

    doing: str
    count: int
    seconds: float | None = None
    answer_seconds: float = 5.0
    alone: bool = False
    start: Literal["", "load", "join"] = ""
    join_seconds: float = 0.0


@dataclass(frozen=True)
class Duty:
    """What a watchdog watches.

    Attributes:
        rank: This one.
        ranks: How many there are.
        host: Host name of this rank's node.
        folder: For notes; None: there is no other rank.
        seconds: Limit of what has none of its own.
        tell: Says what went wrong; called in the watchdog's process, of one rank.
        abort: Asks the launcher to end the other ranks; called in each.
    """

    rank: int
    ranks: int
    host: str
    folder: Path | None
    seconds: float
    tell: Callable[[str], None]
    abort: Callable[[], None]


class Guard:
    """Listens to a rank in a process of its own.

    Args:
        duty: What is watched.
        pipe: What the rank says comes from there.
        hosts: Memory that both processes share: `HOST_BYTES` for the host name of each rank.
        process: Of the rank.
    """

    def __init__(self, duty: Duty, pipe: int, hosts: mmap.mmap, process: int) -> None:
        self._duty = duty
        self._start, self._hang = start_notes(duty), _hang_notes(duty)
        self._pipe = pipe
        self._hosts = hosts
        self._process = process
        self._beat = Beat(doing="", count=0)
        self._limit = math.inf
        self._passed = 0.0
        self._joins = False
        self._join_seconds = math.inf
        self._has_answered = False
        self._looked = time.monotonic()
        self._rest = b""

    def run(self) -> None:
        """Until the rank's process ends."""
        while True:
            self._listen(min(self._check_seconds, max(0.0, self._limit - self._passed)))
            self._answer()
            if self._joins and self._start.are_all_ready():
                self._all_are_ready()
            if self._passed >= self._limit and self._hangs():
                self._end_all()

    @property
    def _check_seconds(self) -> float:
        return _CHECK_SECONDS if self._beat.start else self._beat.answer_seconds / 3

    def _answer(self) -> None:
        """Say where this rank is, when another one asks, by its note."""
        now = time.monotonic()
        if self._beat.start or self._has_answered or now - self._looked < self._check_seconds:
            return
        self._looked = now
        if self._hang.are_asked_for():
            self._has_answered = True
            self._hang.leave(self._note())

    def _listen(self, seconds: float) -> bool:
        """Hear what the rank says within this time; returns whether it has said something."""
        begin = time.monotonic()
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        # Who was stopped itself, as by `scontrol suspend`, has not seen the rank hang.
        self._passed += min(time.monotonic() - begin, seconds + _CHECK_SECONDS)
        if not ready:
            return False
        told = os.read(self._pipe, 65536)
        if not told:
            if self._beat.start:
                # Some launchers wait for a rank that has died before it has joined.
                self._duty.abort()
            os._exit(0)
        *lines, self._rest = (self._rest + told).split(b"\n")
        for line in lines:
            self._hear(msgspec.json.decode(line, type=Beat))
        return bool(lines)

    def _hear(self, beat: Beat) -> None:
        before, self._beat = self._beat, beat
        if self._has_answered:
            self._has_answered = False
            self._hang.take_back()
        if self._joins and not beat.start:
            # They have joined before this process has looked whether all are ready.
            self._all_are_ready()
        if beat.seconds is not None:
            self._limit, self._passed = beat.seconds, 0.0
        if beat.start == "load":
            self._start.leave(self._note())
        elif beat.start == "join" and before.start != "join":
            self._joins, self._join_seconds = True, beat.join_seconds
            self._start.be_ready()

    def _all_are_ready(self) -> None:
        """The limit of what comes now counts from here."""
        self._joins, self._limit, self._passed = False, self._join_seconds, 0.0

    def _note(self) -> Note:
        beat, state = self._beat, _STATES.get(_read_state(self._process), "")
        return Note(
            host=self._duty.host,
            doing=beat.doing,
            count=beat.count,
            alone=beat.alone,
            hangs=self._passed >= self._limit,
            state="" if beat.start == "load" else state,
        )

    def _hangs(self) -> bool:
        """Whether the rank still says nothing when all others have had the time to answer."""
        self._has_answered = True
        self._notes.leave(self._note())
        until = self._passed + self._beat.answer_seconds
        while self._passed < until:
            if self._listen(_HEARD_SECONDS / 4):
                return False
        return True

    @property
    def _notes(self) -> Notes:
        return self._start if self._beat.start else self._hang

    def _end_all(self) -> NoReturn:
        duty = self._duty
        speaks = self._notes.claim_word()
        # Whatever goes wrong with the words, the rank must end.
        with contextlib.suppress(Exception):
            if speaks:
                duty.tell(self._describe())
        # The launcher ends all at once: let it be heard before, and the notes be gone.
        time.sleep(_HEARD_SECONDS if speaks else 2 * _HEARD_SECONDS)
        if speaks:
            self._notes.remove()
        duty.abort()
        os.kill(self._process, signal.SIGHUP)
        # A stopped process takes no signal but this one.
        time.sleep(_HEARD_SECONDS)
        os.kill(self._process, signal.SIGKILL)
        os._exit(1)

    def _describe(self) -> str:
        duty = self._duty
        notes = {**self._notes.read(), duty.rank: self._note()}
        if self._beat.start:
            within = f"did not start within {self._limit:.0f} s"
            return f"{within}: {describe_start(notes, self._notes.ready(), duty.ranks)}"
        names = [self._hosts[at : at + HOST_BYTES] for at in range(0, len(self._hosts), HOST_BYTES)]
        hosts = [name.rstrip(b"\0").decode(errors="replace") for name in names]
        hosts[duty.rank] = duty.host
        what = f"has not come further for {self._passed:.0f} s"
        if self._beat.seconds is None:
            what = f"did not end within {self._limit:.0f} s"
        return f"{what}: {describe_hang(notes, hosts[: duty.ranks])}"


def start_notes(duty: Duty) -> Notes:
    """What the ranks leave while they start."""
    return Notes(duty.folder, duty.rank, duty.ranks)


def _hang_notes(duty: Duty) -> Notes:
    """Apart from the others: that the folder is there is the question."""
    folder = duty.folder and duty.folder.with_name(f"{duty.folder.name}-hang")
    return Notes(folder, duty.rank, duty.ranks)


def _read_state(process: int) -> str:
    """The kernel's letter for what a process does; empty: it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # The name in brackets may hold anything.
    return stat.rpartition(")")[2].split()[0]
