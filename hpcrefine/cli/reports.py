"""Words that read records: ``report`` and ``watch``."""

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

    watch = words.add_parser("watch", help="follow a run, or a study, from another shell")
    watch.add_argument("record", type=Path, metavar="FILE", help="a record or a study's folder")
    watch.add_argument("--once", action="store_true", help="show how far it is and end")
    watch.add_argument(
        *("--interval", "-i"),
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time between two looks (default: 1)",
    )
    watch.add_argument(
        "--wait", action="store_true", help="wait for a record that is not there yet"
    )
    watch.set_defaults(call=_watch)


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
    )
    print(shown, end="")
    return 0


def _watch(options: argparse.Namespace) -> int:
    try:
        from hpcrefine.report.watching import watch

        return watch(
            options.record, once=options.once, interval=options.interval, wait=options.wait
        )
    except KeyboardInterrupt:
        return 130  # not 0: the run need not be over
