"""What every job has, whatever it computes: its name, its repetitions, and where it was read."""

from pathlib import Path
from typing import Self

from hpcrefine.job.base import Section
from hpcrefine.job.sections import JobSection


class JobFile(Section):
    """A whole job file, of any kind.

    Attributes
    ----------
    job : JobSection
        That section.
    """

    job: JobSection = JobSection()

    _path: Path = Path("job.toml")
    _text: str = ""

    def read_from(self, path: Path, text: str) -> Self:
        """Return a copy that knows the file it was read from and its text as run."""
        job = self.model_copy()
        job._path, job._text = path, text
        return job

    @property
    def path(self) -> Path:
        """The job file, as it was named."""
        return self._path

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self._path.parent

    @property
    def text(self) -> str:
        """The TOML text as run, with a comment line for each override."""
        return self._text

    def where(self, section: str, key: str = "") -> str:
        """Return the place of a key, to start a message with: ``job.toml: [section] key``."""
        return f"{self._path}: [{section}] {key}".rstrip()
