"""The command line: words to calls.

Nothing heavy is imported at the top of these modules: worker ranks come through here, and the
thread counts must be set before NumPy loads.
"""

import os
import sys
from collections.abc import Sequence

from hpcrefine import __version__
from hpcrefine.cli import checkup, jobs, reports, studies
from hpcrefine.cli.parser import Parser
from hpcrefine.ending import listen
from hpcrefine.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0: all is well. 1: something failed (also: a result was wrong, a job lost). 2: the user's
    mistake. 3: it ended early, as it was asked to.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:
        listen()  # before anything that takes time
    parser = _parser()
    if not given:
        parser.print_usage(sys.stderr)
        return 2
    try:
        options = parser.parse_args(given)
        code: int = options.call(options)
        sys.stdout.flush()  # a reader that has left is noticed here, not at exit
    except InputError as error:
        print(f"hpcrefine: {error}", file=sys.stderr, flush=True)
        return 2
    except OSError as error:  # not the user's mistake: a full disk, or a reader that has left
        if not isinstance(error, BrokenPipeError):
            print(f"hpcrefine: failed: {error}", file=sys.stderr, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="hpcrefine",
        description="Layered-resolution matrix products and inference over MPI: the leading digits "
        "first, the exact answer last.",
        epilog="Exit codes: 0 well, 1 something failed, was wrong or lost, 2 a mistake in what was "
        "given, 3 ended early, as SIGUSR1 asks a run to.",
    )
    parser.add_argument("--version", action="version", version=f"hpcrefine {__version__}")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (jobs, studies, reports, checkup):
        group.add(words)
    return parser
