"""How a tool ends: one sentence when the input is wrong, and an exit status; and how it runs other commands."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmreid_uda.utils import sentence_about
from mmreid_uda.utils.interrupts import Interrupted, interruptible

from .arguments import begun_first

__all__ = ["run_command", "run_tool", "training_command"]


def run_tool(main: Callable[[], None], resume: str = "") -> None:
    """Run a tool's ``main``; whatever goes wrong there becomes one sentence on stderr and an exit status.

    ===== ==========================================================================================
    0     all is done
    1     an error that nothing expected: a fault of this package, of a plug-in or of the machine
    2     something that the user can mend (:class:`InputError`), a full disk or a missing right among it
    ===== ==========================================================================================

    With ``MMREID_DEBUG=1`` in the environment the traceback stands before the sentence.

    A signal that asks to stop (SIGINT, SIGTERM, SIGHUP) becomes one too, with the exit status of the shells: 128 and
    the signal's number.

    Args:
        main: Reads the command line, and works.
        resume: How to go on after an interruption, where the tool can.
    """
    # File names need not be UTF-8, and a tool must not fail at printing them.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with interruptible():
            main()
            if sys.stdout is not None:  # as it is where the shell has closed it
                sys.stdout.flush()
    except Exception as error:  # the one door behind which no traceback is meant for the user
        status = _say(error)
        _shutdown_dist(together=False)
        sys.exit(status)
    except KeyboardInterrupt as stopped:
        by = f" by {stopped}" if isinstance(stopped, Interrupted) else ""
        if _is_first():
            print(f"interrupted{by}; {resume}" if resume else f"interrupted{by}", file=sys.stderr)
        _shutdown_dist(together=False)
        sys.exit(stopped.status if isinstance(stopped, Interrupted) else 130)
    _shutdown_dist(together=True)


def _ranks() -> Any:
    """:mod:`mmreid_uda.utils.dist`; None in a process that has not come so far as to load it, and so is on its own."""
    return sys.modules.get("mmreid_uda.utils.dist")


def _is_first() -> bool:
    """Whether this is the first of several processes, or the only one."""
    if ranks := _ranks():
        return ranks.launched_rank() == 0
    return begun_first()


def _shutdown_dist(together: bool) -> None:
    if ranks := _ranks():
        ranks.shutdown_dist(together)


def _say(error: Exception) -> int:
    """Print the sentence about an error; the exit status."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return 141  # as the shell has it for such a program
    if os.environ.get("MMREID_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    sentence, expected = sentence_about(error)
    ranks = _ranks()
    if ranks is None or not ranks.rank0_says(error):
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    return 2 if expected else 1


def _nobody_reads() -> bool:
    """Whether what the tool prints goes to a program that has ended, such as ``head``; no more is printed then."""
    if sys.stdout is None:
        return False
    output = sys.stdout.fileno()
    pipe = select.poll()
    pipe.register(output, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in pipe.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def run_command(command: Sequence[str], **streams: Any) -> int:
    """Run a command to its end; if this process is to stop, the command stops by itself first, with its children.

    Args:
        command: Words.
        **streams: ``stdout`` and ``stderr``, as for ``subprocess.Popen``.

    Returns:
        Its exit status; below 0 the number of the signal that ended it.
    """
    process = subprocess.Popen(command, **streams)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def training_command(
    tools: Path, config: str, flags: Sequence[str], num_processes: int = 1
) -> list[str]:
    """The command that trains a config.

    Args:
        tools: The folder of ``train.py`` and ``launch.py``.
        config: Config file.
        flags: Of ``tools/train.py``.
        num_processes: GPUs, or CPU processes.

    Returns:
        Words for ``subprocess.run``.
    """
    if num_processes > 1:
        start = [str(tools / "launch.py"), "train.py", config, str(num_processes)]
    else:
        start = [str(tools / "train.py"), config]
    return [sys.executable, *start, *flags]
