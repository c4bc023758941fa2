"""From quantised operands to a product on its way, and what is learnt from those that ended."""

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from hpcrefine.cluster.commons import Commons
from hpcrefine.cluster.crew import Work
from hpcrefine.cluster.dispatch import Operands
from hpcrefine.cluster.master import Product
from hpcrefine.cluster.request import Cut, Wanted, check_operands, check_shapes, shared_arrays
from hpcrefine.cluster.resident import Resident, hold
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.shared import SharedArrays
from hpcrefine.cluster.supply import Launch, Preparation
from hpcrefine.codes import make_code
from hpcrefine.codes.freivalds import Freivalds
from hpcrefine.errors import InputError
from hpcrefine.resolution.bounds import Bound
from hpcrefine.resolution.digits import Array, Quantised, check_matrix
from hpcrefine.resolution.layers import Layer, layering
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.estimates import Estimator
from hpcrefine.schedule.loads import Moments
from hpcrefine.schedule.plan import Plan, make_plan

_LEARNT = 32  # times of each round that estimates are made from: more tell little, and cost time


class Products:
    """Makes the products of a pool.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    commons : Commons
        The memory that ranks share.

    Attributes
    ----------
    estimates : Estimator
        Of how fast the workers of ranks 1, 2, .. are.
    """

    def __init__(self, comm: MPI.Comm, roster: Roster, commons: Commons) -> None:
        self._comm, self._roster, self._commons = comm, roster, commons
        self._jobs = 0
        self.estimate()

    def estimate(self, forgetting: float = 0.98, prior: ArrayLike | None = None) -> None:
        """Begin to estimate anew, see :class:`hpcrefine.schedule.estimates.Estimator`."""
        self.estimates = Estimator(self._comm.size - 1, forgetting, prior)

    def learn(self, product: Product) -> None:
        """Take note of the times of a settled product's tasks."""
        for rank, seconds in product.times(_LEARNT) if product.layered else ():
            self.estimates.observe(rank - 1, seconds)

    def moments(self, ranks: Sequence[int], size: float) -> Moments | None:
        """Return what is known of the times of some workers' tasks of a size in digit products."""
        known = self.estimates.moments(size)
        return known and known.of_workers([rank - 1 for rank in ranks])

    def plan(
        self,
        shape: tuple[int, int, int],
        layers: tuple[Layer, ...],
        ranks: Sequence[int],
        cut: Cut,
        unit: str = "layer",
    ) -> Plan:
        """Plan a product for some workers."""
        plan = make_plan(
            shape,
            layers,
            cut.make_code(shape[0], len(ranks)),
            len(ranks),
            digit_bits=cut.digit_bits,
            unit=unit,
            split=cut.split,
            survive=cut.survive,
        )
        return self.deal(plan, ranks)[0]

    def deal(self, plan: Plan, ranks: Sequence[int]) -> tuple[Plan, Sequence[int]]:
        """Return a plan dealt by what is known of its workers now, and those of them it is for.

        A uniform split stays as it is; tasks of workers that are gone are then handed out again.
        """
        if plan.split.name == "uniform":
            return plan, ranks
        usable = set(self._roster.usable)
        there = [rank for rank in ranks if rank in usable]
        return plan.with_owners(len(there), self.moments(there, plan.task_size)), there

    def hold(self, number: int, left: Quantised, cut: Cut) -> tuple[Plan, tuple[int, ...]]:
        """Hand the workers a left operand to be kept under a number.

        Its planes are to lie in memory of ``Commons``.

        Returns
        -------
        plan : Plan
            Of its products with one column.
        ranks : tuple of int
            The plan's workers.

        Raises
        ------
        InputError
            If the code cuts the right operand, or does not suit the left one.
        """
        every, ranks = layering("square", left.digits), self._roster.usable
        grid = cut.make_code(left.shape[0], len(ranks)).grid
        if grid.inner > 1 or grid.columns > 1:
            raise InputError(
                f"[code] scheme: found {cut.code} for a resident operand, expected one that leaves "
                "b whole"
            )
        plan = self.plan((*left.shape, 1), every, ranks, cut)
        sharing = self._commons.sharing()
        sharing.publish(SharedArrays(left.planes, None, [], []))
        hold(self._roster, ranks, number, plan, left, sharing)
        return plan, tuple(ranks)

    def multiply(
        self,
        start: float,
        plan: Plan,
        ranks: Sequence[int],
        pair: tuple[Quantised, Quantised],
        bounds: tuple[Bound, ...],
        wanted: Wanted,
        *,
        held: int = 0,
        position: int = 0,
        gated: bool = False,
    ) -> Product:
        """Begin a layered product.

        Parameters
        ----------
        start : float
            ``MPI.Wtime()`` from which on its times count.
        plan, ranks
            Who computes what.
        pair : (Quantised, Quantised)
            Operands.
        bounds : tuple of Bound
            Error bound of each layer.
        wanted : Wanted
            What is kept and checked.
        held : int
            Number of the planes of A that the workers hold; 0 if they are sent.
        position : int
            Place in a stream.
        gated : bool
            Whether workers wait for :meth:`Product.begin`.
        """
        left, right = pair
        sharing, checker = self._commons.sharing(), None
        if sharing.ranks:
            sharing.publish(shared_arrays(sharing, plan, left.planes, right.planes, wanted))
        if wanted.verify == "freivalds":
            checker = Freivalds(plan.code, left.planes, right.planes, plan.digit_bits)
        operands = Operands(left.planes, right.planes, Refiner.of(left, right))
        work = Work(
            *(self._comm, self._roster, self.next_job(), plan, ranks, operands, sharing),
            held=held,
            checker=checker,
            position=position,
            estimates=self.estimates.now(),
        )
        return Product(work, bounds, start, gated=gated)

    def oneshot(
        self,
        start: float,
        ranks: Sequence[int],
        a: Array,
        b: Array,
        tasks: int | None,
        *,
        position: int = 0,
        gated: bool = False,
    ) -> Product:
        """Begin a product in float64, all or nothing; every worker gets as many tasks.

        Parameters are those of :meth:`multiply` and :meth:`Pool.oneshot`.
        """
        shape = (a.shape[0], a.shape[1], b.shape[1])
        code = make_code("uncoded", min(len(ranks) if tasks is None else tasks, a.shape[0]))
        plan = make_plan(shape, (Layer(0, ((0, 0),), 1.0),), code, len(ranks))
        sharing = self._commons.sharing()
        left, right = (self._commons.as_float64(matrix)[None] for matrix in (a, b))
        values = [sharing.empty((shape[0], shape[2]), np.float64)] if sharing.ranks else []
        sharing.publish(SharedArrays(left, right, values, []))
        operands = Operands(left, right, None)
        work = Work(
            *(self._comm, self._roster, self.next_job(), plan, ranks, operands, sharing),
            position=position,
            estimates=self.estimates.now(),
        )
        return Product(work, (Bound(np.nan, np.nan),), start, gated=gated)

    def plain(self, tasks: int | None = None) -> Callable[[tuple[Array, Array]], Preparation]:
        """Return how pairs of operands come to products in float64."""

        def prepare(pair: tuple[Array, Array]) -> Preparation:
            check_operands(*pair)

            def launch(position: int) -> Product:
                start, ranks = MPI.Wtime(), self._there()
                return self.oneshot(start, ranks, *pair, tasks, position=position, gated=True)

            return lambda: launch

        return prepare

    def paired(self, cut: Cut, wanted: Wanted) -> Callable[[tuple[Array, Array]], Preparation]:
        """Return how pairs of operands come to layered products."""

        def prepare(pair: tuple[Array, Array]) -> Preparation:
            check_operands(*pair)
            teams = [self._commons.onto(cut.digits, matrix.shape) for matrix in pair]

            def quantised() -> Launch:
                a, b = (
                    cut.quantise(*each, team)
                    for each, team in zip(((pair[0], "a"), (pair[1], "b")), teams, strict=True)
                )
                layers, bounds = wanted.choose(a, b)

                def launch(position: int) -> Product:
                    start, ranks = MPI.Wtime(), self._there()
                    shape = (*a.shape, b.shape[1])
                    plan = self.plan(shape, layers, ranks, cut, wanted.unit)
                    return self.multiply(
                        *(start, plan, ranks, (a, b), bounds, wanted),
                        position=position,
                        gated=True,
                    )

                return launch

            return quantised

        return prepare

    def beside(self, a: Resident, wanted: Wanted) -> Callable[[Array], Preparation]:
        """Return how right operands come to layered products with one at the workers."""

        def prepare(b: Array) -> Preparation:
            check_matrix(b, "b")
            check_shapes(a.shape, b.shape)
            team = self._commons.onto(a.cut.digits, b.shape)

            def quantised() -> Launch:
                right = a.cut.quantise(b, "b", team)
                layers, bounds = wanted.choose(a.left, right)

                def launch(position: int) -> Product:
                    start = MPI.Wtime()
                    self._there()
                    plan = a.plan.with_layers((*a.shape, right.shape[1]), layers, wanted.unit)
                    plan, ranks = self.deal(plan, a.ranks)
                    return self.multiply(
                        *(start, plan, ranks, (a.left, right), bounds, wanted),
                        held=a.number,
                        position=position,
                        gated=True,
                    )

                return launch

            return quantised

        return prepare

    def next_job(self) -> int:
        """Return a number for the next product or inference."""
        self._jobs += 1
        return self._jobs

    def _there(self) -> list[int]:
        self._roster.poll()
        self._roster.require()
        return self._roster.usable
