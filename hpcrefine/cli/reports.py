"""Words that read records: ``report``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcrefine.cli.parser import Words


def add(words: "Words") -> None:
    """Add the words to the command line."""
    report = words.add_parser("report", help="print tables of records")
    report.add_argument("records", nargs="+", type=Path, metavar="FILE")
    report.add_argument("--json", action="store_true", help="print JSON instead")
    report.add_argument("--csv", type=Path, metavar="DIR", help="write a CSV file per table too")
    report.add_argument("--plot", type=Path, metavar="DIR", help="draw figures too, PNG and SVG")
    report.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with tables and figures too"
    )
    report.add_argument("--force", action="store_true", help="let --html replace FILE")
    report.add_argument(
        "--job", type=int, metavar="N", help="draw the timeline of this job, not of the median one"
    )
    tables = report.add_mutually_exclusive_group()
    tables.add_argument(
        "--phases", action="store_true", help="say where the time of each resolution went"
    )
    tables.add_argument(
        "--codes", action="store_true", help="compare codes in one table over all records"
    )
    tables.add_argument(
        "--split", action="store_true", help="say how the load split followed the workers"
    )
    report.set_defaults(call=_report)


def _report(options: argparse.Namespace) -> int:
    from hpcrefine.report import report

    shown = report(
        options.records,
        json=options.json,
        csv=options.csv,
        plot=options.plot,
        phases=options.phases,
        codes=options.codes,
        split=options.split,
        html=options.html,
        force=options.force,
        job=options.job,
    )
    print(shown, end="")
    return 0
