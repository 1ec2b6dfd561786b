"""Start a tool on N processes, for tools/dist_train.sh and tools/dist_test.sh: tools/launch.py TOOL CONFIG N [flags].

It is torchrun, without its traceback when a process has said in a sentence what is wrong, and with that process's exit
status. Two runs on one machine find ports of their own. On several machines NNODES, NODE_RANK, MASTER_ADDR and PORT are
set.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

TOOLS = Path(__file__).resolve().parent


def stop(message: str) -> NoReturn:
    """End with one sentence."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def rendezvous() -> list[str]:
    """Where the processes meet: a free port of this machine, or the one that the environment names."""
    if os.environ.get("NNODES", "1") == "1":
        return ["--standalone"]
    missing = [name for name in ("NODE_RANK", "MASTER_ADDR") if name not in os.environ]
    if missing:
        stop(f"found NNODES={os.environ['NNODES']} without {' and '.join(missing)}; set them.")
    return [
        f"--nnodes={os.environ['NNODES']}",
        f"--node_rank={os.environ['NODE_RANK']}",
        f"--master_addr={os.environ['MASTER_ADDR']}",
        f"--master_port={os.environ.get('PORT', '29500')}",
    ]


def exit_status(error: ChildFailedError) -> int:
    """The status of the process whose failure ended the others: killed, or with an error; not one stopped for it."""

    def order(item: tuple[int, ProcessFailure]) -> tuple[int, int]:
        status, time = item[1].exitcode, item[1].timestamp
        return (2 if status == -signal.SIGTERM else status > 0, time)

    rank, first = min(error.failures.items(), key=order)
    if first.exitcode > 0:
        return int(first.exitcode)
    name = signal.Signals(-first.exitcode).name
    why = ", mostly for lack of memory" if name == "SIGKILL" else ""
    print(f"error: process {rank} was ended by {name}{why}; go on with --resume.", file=sys.stderr)
    return 128 - int(first.exitcode)


def main() -> None:
    """Start the processes and end as they do."""
    if len(sys.argv) < 4:
        stop(f"found {len(sys.argv) - 1} arguments, expected TOOL CONFIG N [flags].")
    tool, config, number, *flags = sys.argv[1:]
    if not number.isdigit() or int(number) < 1:
        stop(f"found {number!r} as the number of processes, expected 1 or more.")
    sys.path.insert(0, str(TOOLS.parent))  # also of a checkout that is not installed
    from mmreid_uda.utils.threads import settle_threads

    settle_threads(int(number))
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    path = [str(TOOLS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    words = [*rendezvous(), f"--nproc_per_node={number}", str(TOOLS / tool)]
    try:
        run(parse_args([*words, config, "--launcher", "pytorch", *flags]))
    except ChildFailedError as error:
        sys.exit(exit_status(error))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except Exception as error:
        if os.environ.get("MMREID_DEBUG") == "1":
            raise
        stop(
            f"{number} processes cannot be started ({str(error).partition(chr(10))[0][:200]}): choose another PORT if "
            "it is taken, and see that MASTER_ADDR is this machine's on the first one."
        )


if __name__ == "__main__":
    main()
