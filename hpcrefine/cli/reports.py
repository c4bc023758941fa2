"""Words that read records: ``report``, ``export``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcrefine.cli.parser import Words


def add(words: "Words") -> None:
    """Add the words to the command line."""
    report = words.add_parser("report", help="print tables of records and studies")
    report.add_argument("records", nargs="+", type=Path, metavar="FILE|FOLDER")
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
    tables.add_argument(
        "--scaling", action="store_true", help="say how times scale over all that is given"
    )
    tables.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="FILE|FOLDER",
        help="compare with these; may be repeated",
    )
    report.set_defaults(call=_report)
    export = words.add_parser("export", help="write records and studies for other programs")
    export.add_argument("sources", nargs="+", type=Path, metavar="FILE|FOLDER")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    export.add_argument(
        "--format",
        choices=("csv", "json", "parquet", "extrap"),
        required=True,
        help="a file per table (csv, parquet), one document, or what Extra-P reads",
    )
    export.add_argument("--force", action="store_true", help="replace files that are there")
    export.set_defaults(call=_export)


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
        scaling=options.scaling,
        against=options.against,
    )
    print(shown, end="")
    return 0


def _export(options: argparse.Namespace) -> int:
    from hpcrefine.analysis.export import export

    for path in export(options.sources, options.output, options.format, force=options.force):
        print(f"wrote {path}")
    return 0
