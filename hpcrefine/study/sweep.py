"""The section ``[sweep]`` of a study file: which runs a study is made of."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, Strict, model_validator

from hpcrefine.complaints import as_toml
from hpcrefine.job.base import Section, rule

_Ranks = Annotated[int, Field(ge=2, le=2**20)]
_Length = Annotated[int, Field(ge=1, lt=2**31)]
_Lengths = Annotated[tuple[_Length, _Length, _Length], Strict(False)]
Axis = tuple[dict[str, Any], ...]


class SlurmSection(Section):
    """``[sweep.slurm]``: how ``hpcrefine study submit`` submits.

    Any other key is a long option of ``sbatch``, such as ``time = "00:30:00"``; ``true`` for those
    without a value.

    Attributes
    ----------
    launcher : str, optional
        What starts the ranks, such as ``"srun --mpi=pmi2"``; the ``mpiexec`` beside Python unless
        given.
    setup : str
        Shell commands before the run, such as ``"module load openmpi"``.
    scratch : str, optional
        Node-local folder, as the shell of the job expands it, where records stand while they are
        written.
    notice : int
        Seconds before the time limit at which a run is told to end itself.
    """

    model_config = ConfigDict(extra="allow")

    launcher: str | None = Field(default=None, min_length=1, description="a command")
    setup: str = Field(default="", description="shell commands")
    scratch: str | None = Field(default=None, min_length=1, description="a folder")
    notice: int = Field(default=60, ge=1)

    @model_validator(mode="after")
    def _options_have_values(self) -> Self:
        for key, value in self.options.items():
            if not isinstance(value, str | int):
                raise rule(key, "the value of an option of sbatch: a text, an integer, or true")
        return self

    @property
    def options(self) -> dict[str, str | int]:
        """Options of ``sbatch`` by name."""
        return self.model_extra or {}


class Sweep(Section):
    """``[sweep]``: beside these keys it has, by section and key, lists of values for a job's keys.

    Attributes
    ----------
    scaling : {"strong", "weak"}, optional
        What is claimed of the points that differ in ranks: the same work for all, or work that
        grows with the workers.
    grow : {"n", "p"}
        What grows in weak scaling: rows of A (samples of inference), or columns of B.
    ranks : list of int
        Numbers of ranks, master included.
    nodes : int or list of int, optional
        Nodes for each of them; as Slurm likes unless given.
    sizes : list, optional
        ``n = k = p`` of random operands, or ``[n, k, p]``.
    runs : int
        How often each point is run.
    seed : int
        Of the order in which points are run.
    simulate : bool
        Whether points are simulated instead of run.
    slurm : SlurmSection
        For ``hpcrefine study submit``.
    """

    scaling: Literal["strong", "weak"] | None = None
    grow: Literal["n", "p"] = "n"
    ranks: list[_Ranks] = Field(
        min_length=1, description="a list of numbers of ranks, each at least 2 (master included)"
    )
    nodes: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="a number of nodes, or one for each of ranks"
    )
    sizes: list[_Length | _Lengths] | None = Field(
        default=None, min_length=1, description="a list of lengths, or of lists [n, k, p]"
    )
    runs: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    simulate: bool = False
    slurm: SlurmSection = SlurmSection()

    @model_validator(mode="after")
    def _suits(self) -> Self:
        if len(set(self.ranks)) < len(self.ranks):
            raise rule("ranks", "each number of ranks once")
        if self.scaling is not None and len(self.ranks) < 2:
            raise rule("ranks", f"at least two numbers of ranks for {self.scaling} scaling")
        if isinstance(self.nodes, list) and len(self.nodes) != len(self.ranks):
            raise rule("nodes", f"{len(self.ranks)} numbers, one for each of ranks")
        if any(nodes > ranks for ranks, nodes in self.places):
            raise rule("nodes", "no more nodes than ranks")
        return self

    @property
    def places(self) -> list[tuple[int, int]]:
        """Ranks and nodes of the points; 0 nodes: as Slurm likes."""
        nodes = self.nodes if isinstance(self.nodes, list) else [self.nodes] * len(self.ranks)
        return list(zip(self.ranks, (number or 0 for number in nodes), strict=True))


class StudyFile(Section):
    """What a study file has beside a job.

    Attributes
    ----------
    sweep : Sweep
        That section.
    """

    sweep: Sweep


@dataclass(frozen=True)
class Setting:
    """What the runs of a point have in common.

    Attributes
    ----------
    ranks, nodes : int
        Ranks, master included, and nodes; 0 nodes: as Slurm likes.
    values : dict
        Of the keys that are swept, by ``section.key``.
    """

    ranks: int
    nodes: int
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """What tells it from others, for people."""
        values = (f"{key}={_brief(value)}" for key, value in self.values.items())
        return ", ".join([f"ranks={self.ranks}", *values])


def settings(sweep: Sweep, axes: list[Axis]) -> Iterator[Setting]:
    """Yield every combination of ranks and of one value of each axis."""
    for ranks, nodes in sweep.places:
        for values in itertools.product(*axes):
            merged: dict[str, Any] = {}
            for value in values:
                merged |= value
            yield Setting(ranks, nodes, merged)


def find_axes(data: Mapping[str, Any], way: tuple[str, ...] = ()) -> list[Axis]:
    """Return what is swept: for each key that has a list, the values that it takes.

    A list of tables at a section gives keys of this section together, one table after the other.

    Raises
    ------
    ValueError
        If a key has no list of values; it names the key.
    """
    axes: list[Axis] = []
    for key, found in data.items():
        place = (*way, key)
        if isinstance(found, list) and found:
            axes.append(tuple(_values(place, value) for value in found))
        elif isinstance(found, dict) and found:
            axes += find_axes(found, place)
        else:
            raise ValueError(".".join(place))
    return axes


def _values(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(place) > 1:
        return {".".join(place): value}
    if not isinstance(value, dict):
        raise ValueError(place[0])
    return {f"{place[0]}.{key}": inner for key, inner in value.items()}


def _brief(value: object) -> str:
    return value if isinstance(value, str) else as_toml(value)
