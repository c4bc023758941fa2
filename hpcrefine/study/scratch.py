"""Records on a node-local disk while they are written, and in the study's folder after."""

import shutil
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.layout import replacement
from hpcrefine.study.states import look


class Scratch:
    """Where records stand while they are written.

    Parameters
    ----------
    kept : Path
        The study's folder.
    local : Path or None
        The node-local one; None: records are written where they are kept.
    """

    def __init__(self, kept: Path, local: Path | None) -> None:
        self._kept, self._local = kept, local

    def fetch(self, name: str) -> Path:
        """Return where a record is to be written; what there is of it stands there.

        A run that died before its record was brought has left it on the node: of both, that with
        more finished jobs is gone on with.

        Raises
        ------
        InputError
            If the local folder cannot be used.
        """
        kept = self._kept / name
        if self._local is None:
            return kept
        target = self._local / name
        here, there = look(target), look(kept)
        try:
            self._local.mkdir(parents=True, exist_ok=True)
            if here.kind == "damaged":
                target.unlink()
            if kept.exists() and here.jobs <= there.jobs:
                with replacement(target) as temporary:
                    shutil.copyfile(kept, temporary)
        except OSError as error:
            raise InputError(f"--scratch {self._local}: {error}") from error
        return target

    def bring(self, name: str) -> None:
        """Move a record to where it is kept, if there is one; it is whole there or not there.

        Raises
        ------
        OSError
            If it cannot be moved: it stays on the node.
        """
        if self._local is None or not (self._local / name).exists():
            return
        with replacement(self._kept / name) as temporary:
            shutil.copyfile(self._local / name, temporary)
        (self._local / name).unlink()
