"""The word ``doctor``."""

import argparse
from typing import TYPE_CHECKING

from hpcrefine import launch

if TYPE_CHECKING:
    from hpcrefine.cli.parser import Words


def add(words: "Words") -> None:
    """Add the word to the command line."""
    doctor = words.add_parser("doctor", help="say what works here: MPI, kernels, threads, Slurm")
    doctor.add_argument("-n", "--ranks", type=int, default=3, help="ranks to try (default 3)")
    doctor.set_defaults(call=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    launch.prepare_process()
    from hpcrefine import doctor

    return doctor.examine_rank() if launch.under_mpi() else doctor.examine(options.ranks)
