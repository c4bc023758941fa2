"""Words for studies: ``study run`` and ``study submit``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hpcrefine import launch
from hpcrefine.cli.parser import Parser, add_overrides
from hpcrefine.errors import InputError

if TYPE_CHECKING:
    from hpcrefine.cli.parser import Words
    from hpcrefine.study.plan import Study


def add(words: "Words") -> None:
    """Add the words to the command line."""
    study = words.add_parser("study", help="run a job file swept over ranks, sizes and other keys")
    inner = study.add_subparsers(required=True, metavar="run|submit", parser_class=Parser)

    run = inner.add_parser(
        "run", help="run the points of a study here, as far as they are not done"
    )
    _add_study(run)
    run.add_argument(
        "--point",
        type=int,
        action="append",
        metavar="NUMBER",
        help="only this point; may be repeated",
    )
    run.add_argument(
        "--together",
        action="store_true",
        help="run points at the same time while their ranks fit on the cores here",
    )
    run.add_argument(
        "--scratch",
        type=Path,
        metavar="FOLDER",
        help="write records into this node-local folder and move them when their runs end",
    )
    run.add_argument("--dry-run", action="store_true", help="list the points and end")
    run.set_defaults(call=_run)

    submit = inner.add_parser(
        "submit", help="submit the points that are not done to Slurm, and a report after them"
    )
    _add_study(submit)
    submit.add_argument("--dry-run", action="store_true", help="print the script and the commands")
    submit.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more option of sbatch, as in --sbatch=--partition=big; may be repeated",
    )
    submit.set_defaults(call=_submit)


def _add_study(word: argparse.ArgumentParser) -> None:
    word.add_argument("study", type=Path, metavar="STUDY.toml")
    add_overrides(word)
    word.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FOLDER",
        help="where records and study.json go (default: results/NAME)",
    )


def _plan(options: argparse.Namespace) -> "Study":
    if launch.under_mpi():
        raise InputError(
            "study: found mpiexec or srun, expected a call without: it starts the ranks itself"
        )
    launch.prepare_process()
    from hpcrefine.study.plan import plan

    return plan(options.study, options.overrides, options.output)


def _run(options: argparse.Namespace) -> int:
    study = _plan(options)
    from hpcrefine.study.plan import select, settle
    from hpcrefine.study.running import Runner
    from hpcrefine.study.scratch import Scratch
    from hpcrefine.study.states import listing

    points = select(study, options.point)
    if options.dry_run:
        print(listing(study.folder, points))
        return 0
    settle(study)
    cores = launch.available_cores() if options.together else 0
    scratch = Scratch(study.folder, options.scratch and options.scratch / study.manifest.name)
    tally = Runner(study, cores, scratch, lambda line: print(line, flush=True)).run(points)
    print(
        f"{study.folder}: {len(tally.done)} of {len(points)} points done, "
        f"{len(tally.failed)} failed, {len(tally.left)} left"
    )
    return tally.code


def _submit(options: argparse.Namespace) -> int:
    study = _plan(options)
    from hpcrefine.study.slurm import Submission

    submission = Submission(study, options.sbatch)
    if options.dry_run:
        print(submission.shown(), end="")
    else:
        for line in submission.submit():
            print(line, flush=True)
    return 0
