"""From the records of a run of the suite to one page: ``summary.md`` and ``summary.svg``.

Made anew from records by ``python -m bench.summary results/bench-TIME``.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.comparison import HEADINGS, Comparison, cells, compare, markdown, text
from hpcrefine.record.reader import read

PAGE, PICTURE = "summary.md", "summary.svg"


def load(directory: Path) -> list[Comparison]:
    """Read and reduce all records of a directory, in alphabetical order."""
    return [compare(read(path)) for path in sorted(directory.glob("*.h5"))]


def write(directory: Path, notes: Mapping[str, str] | None = None) -> list[Comparison]:
    """Write the page and, where matplotlib is there, the picture; return what was compared.

    Parameters
    ----------
    directory : Path
        Holds the records.
    notes : mapping, optional
        Names of modules to what people should know: skipped, failed, out of time.
    """
    comparisons = load(directory)
    try:
        from bench.picture import draw
    except ImportError as error:
        picture = f"No picture: {error}."
    else:
        draw(comparisons, directory / PICTURE)
        picture = f"![Ratios and accuracy]({PICTURE})"
    (directory / PAGE).write_text(page(comparisons, notes or {}, picture), encoding="utf-8")
    return comparisons


def page(comparisons: Sequence[Comparison], notes: Mapping[str, str], picture: str) -> str:
    """Write the page: where, what was asked for, then every comparison."""
    lines = ["# hpcrefine measured", "", *_where(comparisons), "", picture, ""]
    lines += [f"- {name}: {note}" for name, note in notes.items()] + [""] * bool(notes)
    wrong = [c.case.name for c in comparisons if c.wrong]
    lines += [f"**WRONG results, their times mean nothing: {', '.join(wrong)}**", ""] * bool(wrong)
    open_ = [c.case.name for c in comparisons if not c.record.complete]
    lines += [f"Interrupted: {', '.join(open_)}", ""] * bool(open_)
    asked = [
        (comparison.case.name, *cells(row))
        for comparison in comparisons
        for row in comparison.rows
        if row.met
    ]
    if asked:
        lines += ["## Targets", "", markdown([("comparison", *HEADINGS), *asked]), ""]
    lines += [
        "Times are medians, the intervals of times nonparametric, those of ratios of medians by "
        "bootstrap over the repeats, 95 % each. A ratio is the time for the same work over the "
        "base's.",
        "",
        *map(text, comparisons),
    ]
    return "\n".join(lines)


def _where(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return ["No records."]
    facts = comparisons[0].record.environment
    names = ("cpu", "cores", "mpi", "mpi4py", "numpy", "blas", "openblas_coretype", "git_commit")
    return [f"- {name}: {facts[name]}" for name in names if name in facts]


def main() -> None:
    """Write the page of a directory anew."""
    parser = argparse.ArgumentParser(description="Write summary.md and summary.svg anew.")
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    write(directory)
    print(directory / PAGE)


if __name__ == "__main__":
    main()
