"""Hands the points of a study to Slurm: job arrays, a task a point, and a report after them."""

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.manifest import Point
from hpcrefine.study.plan import Study, select, settle
from hpcrefine.study.states import look

_ARRAY = """\
#!/usr/bin/env bash
# Written by `hpcrefine study submit`: the points of a study, one a task of a job array.
{directives}
{setup}export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}}  # since 22.05 srun does not inherit it
{launcher}# In place of this shell, so that the notice before the time limit reaches the run itself.
exec {command} --point "$SLURM_ARRAY_TASK_ID"{scratch}
"""
_REPORT = """\
#!/usr/bin/env bash
# Written by `hpcrefine study submit`: the report of a study, once its points are over.
{directives}
{setup}exec {command}
"""


class Submission:
    """What is submitted of a study: all points that are not done and not being run.

    Parameters
    ----------
    study : Study
        The study.
    options : sequence of str
        Options of ``sbatch``, stronger than those of the study file.
    """

    def __init__(self, study: Study, options: Sequence[str]) -> None:
        self.study, self._options = study, list(options)
        self._folder = study.folder.absolute()
        self._slurm = study.sweep.slurm

    def shown(self) -> str:
        """Return the scripts and the commands that would submit them."""
        arrays = [shlex.join(self._array(*group)) for group in self._groups()]
        report = shlex.join(self._report(["JOB"] * len(arrays)))
        scripts = [f"# {path}\n{text}" for path, text in self._scripts().items()]
        return "\n".join([*scripts, *arrays, report]) + "\n"

    def submit(self) -> Iterator[str]:
        """Write the scripts and submit them; yield a line for each job.

        Raises
        ------
        InputError
            If there is nothing to submit or no Slurm, or Slurm refuses the options.
        """
        groups = list(self._groups())
        if not groups:
            raise InputError(f"{self.study.folder}: found no point that is not done or running")
        settle(self.study)
        for path, text in self._scripts().items():
            path.write_text(text)
            path.chmod(0o755)
        jobs = []
        for ranks, nodes, points in groups:
            jobs.append(_submitted(self._array(ranks, nodes, points)))
            yield f"job {jobs[-1]}: {len(points)} points on {ranks} ranks"
        yield f"job {_submitted(self._report(jobs))}: the report, after all of these"

    def _groups(self) -> Iterator[tuple[int, int, list[Point]]]:
        """Yield the points that ask Slurm for the same: ranks, nodes, points."""
        groups: dict[tuple[int, int], list[Point]] = {}
        for point in select(self.study, None):
            if look(self._folder / point.file).kind not in ("done", "running"):
                groups.setdefault((point.ranks, point.nodes), []).append(point)
        for (ranks, nodes), points in groups.items():
            yield ranks, nodes, points

    def _array(self, ranks: int, nodes: int, points: Sequence[Point]) -> list[str]:
        numbers = ",".join(str(point.number) for point in points)
        asked = [f"--ntasks={ranks}", *([f"--nodes={nodes}"] if nodes else [])]
        script = str(self._folder / "study.sbatch")
        return ["sbatch", "--parsable", f"--array={numbers}", *asked, *self._options, script]

    def _report(self, jobs: Sequence[str]) -> list[str]:
        after = f"--dependency=afterany:{':'.join(jobs)}"
        script = str(self._folder / "report.sbatch")
        return ["sbatch", "--parsable", after, "--ntasks=1", "--nodes=1", *self._options, script]

    def _scripts(self) -> dict[Path, str]:
        """Return the scripts by their places."""
        slurm, study, name = self._slurm, self.study, self.study.manifest.name
        program = [sys.executable, "-m", "hpcrefine"]
        run = [*program, "study", "run", str(study.path.absolute()), "-o", str(self._folder)]
        for override in study.overrides:
            run += ["--set", override]
        report = [*program, "report", str(self._folder)]
        if find_spec("matplotlib") and find_spec("pandas"):
            report += ["--html", str(self._folder / "report.html"), "--force"]
        setup = f"{slurm.setup.rstrip()}\n" if slurm.setup else ""
        launcher = slurm.launcher and f"export HPCREFINE_MPIEXEC={shlex.quote(slurm.launcher)}\n"
        array = _ARRAY.format(
            directives=self._directives(name, "%A_%a", signal=f"B:USR1@{slurm.notice}"),
            setup=setup,
            launcher=launcher or "",
            command=shlex.join(run),
            scratch=f' --scratch "{slurm.scratch}"' if slurm.scratch else "",
        )
        after = _REPORT.format(
            directives=self._directives(f"{name}-report", "%j"),
            setup=setup,
            command=shlex.join(report),
        )
        return {self._folder / "study.sbatch": array, self._folder / "report.sbatch": after}

    def _directives(self, name: str, number: str, **own: str) -> str:
        threads = self.study.job.kernel.threads or 1
        options: dict[str, str | int] = {
            "job-name": name,
            "output": f"{self._folder}/slurm-{number}.out",
            "cpus-per-task": threads,
            **own,
            **self._slurm.options,
        }
        lines = (
            f"#SBATCH --{key}" + ("" if value is True else f"={shlex.quote(str(value))}")
            for key, value in options.items()
            if value is not False
        )
        return "\n".join(lines)


def _submitted(command: Sequence[str]) -> str:
    """Submit a script and return the job's number."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"sbatch: found {error.strerror}, expected Slurm's command") from None
    if ran.returncode != 0:
        said = " ".join(ran.stderr.split())
        raise InputError(f"{shlex.join(command)}: found {said or 'a failure'}, expected a job")
    return ran.stdout.strip().partition(";")[0]
