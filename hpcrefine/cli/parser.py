"""How words and options are parsed."""

import argparse
from typing import Any, NoReturn, TypeAlias

from hpcrefine.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like all others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse what was given.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(f"{message} (see {self.prog} --help)")


#: Where words are added.
Words: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_overrides(word: argparse.ArgumentParser) -> None:
    """Add ``--set`` to a word that takes a job file."""
    word.add_argument(
        *("--set", "-s"),
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="override a key of the job file; may be repeated",
    )
