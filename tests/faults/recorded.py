"""A machine whose disks can be pictured at any moment, as they would be found if the power went just then.

`Machine` loses at a cut whatever was not flushed. A real drive may have kept some of it, in an order of its own, and
half of a long write. Here the disks lie in a file system of their own (`recording.py`) that sees every write and every
flush, so that a picture is of one instant, costs the program nothing, and is any state that the drives could be in.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from machine import (
    DISKS,
    MAKE,
    MEGABYTE,
    OPTIONS,
    CannotBeBuilt,
    Machine,
    needs_tools,
    run,
    shut_down,
)
from program import signal_tree

RECORDER = Path(__file__).with_name("recording.py")


class Recorded(Machine):
    """Disks under `place` that remember; a cut is a picture that is then shown."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._disks = place / "disks"
        self._recorder: subprocess.Popen[str] | None = None
        self._showing: int | None = None

    def build(self) -> None:
        """Make the disks and mount them.

        Raises:
            CannotBeBuilt: not root, no FUSE, no loop devices or no ext4.
        """
        needs_tools()
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise CannotBeBuilt("no /dev/fuse here")
        self._disks.mkdir(parents=True)
        sizes = [f"{name}={size * MEGABYTE}" for name, size in DISKS.items()]
        try:
            self._recorder = subprocess.Popen(
                [sys.executable, RECORDER, self._disks, *sizes],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._answer() != "ready":
                raise CannotBeBuilt("the disks could not be mounted")
            for name in DISKS:
                (self.place / name).mkdir()
                run(*MAKE, "-E", "nodiscard", self._disks / name)
            self.on()
            self._leave()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or ""
            self.off()
            raise CannotBeBuilt(f"{error} {said.strip()}") from error
        self.on()

    def on(self, *, carrier: bool = True) -> None:
        """Attach and mount what the last picture shows; journals are replayed."""
        if self._showing is not None:
            self._tell("show", self._showing)
            self._showing = None
        self._order.append(self._order.pop(0))
        for name in self._order:
            self._attach(name, self._disks / name, OPTIONS)

    def picture(self, seed: int) -> tuple[int, int]:
        """Take a picture: its number, and how many blocks waited in the disks to be flushed."""
        number, waiting = self._tell("picture", seed).split()
        return int(number), int(waiting)

    def forget(self, picture: int) -> None:
        """Give a picture up."""
        self._tell("forget", picture)

    def show(self, picture: int) -> None:
        """Mount what a picture shows, in place of what is mounted; no program may run there."""
        if self._loops:
            self._leave()
        self._showing = picture
        self.on()

    def cut(self, program: subprocess.Popen[bytes] | None = None) -> None:
        """Cut the power: what a picture of now shows is what `on` finds.

        The processes are stopped before they are killed, so that none sees its disk fail and reacts to it.
        """
        if program is not None:
            signal_tree(program, signal.SIGSTOP)
        self._showing, _ = self.picture(random.randrange(1 << 30))
        if program is not None:
            signal_tree(program, signal.SIGKILL)
            program.wait()
        self._leave()

    def off(self) -> None:
        """Unmount and forget everything. Idempotent."""
        super().off()
        if (recorder := self._recorder) is not None:
            recorder.communicate()
            self._recorder = None
            subprocess.run(["umount", "-l", self._disks], capture_output=True, check=False)

    def _leave(self) -> None:
        """Unmount without writing anything: the disks are another picture's in a moment."""
        for name in self._order:
            shut_down(self.place / name)
        for name in reversed(self._order):
            self._detach(name)

    def _tell(self, word: str, number: int) -> str:
        assert self._recorder is not None
        assert self._recorder.stdin is not None
        self._recorder.stdin.write(f"{word} {number}\n")
        self._recorder.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._recorder is not None
        assert self._recorder.stdout is not None
        return self._recorder.stdout.readline().strip()
