"""The public handle: workers serve in it, rank 0 multiplies with it."""

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from hpcrefine.cluster.inference import Inference
from hpcrefine.cluster.master import Product
from hpcrefine.cluster.networks import Networks, check_inference
from hpcrefine.cluster.products import Products
from hpcrefine.cluster.protocol import Command
from hpcrefine.cluster.request import Cut, Wanted, check_operands, read_options
from hpcrefine.cluster.resident import Resident
from hpcrefine.cluster.staff import Staff
from hpcrefine.cluster.stream import Stream
from hpcrefine.cluster.supply import Preparation, Supply
from hpcrefine.errors import InputError
from hpcrefine.resolution.bounds import Bound
from hpcrefine.resolution.digits import Array, Quantised, check_matrix
from hpcrefine.resolution.layers import Layer
from hpcrefine.schedule.estimates import Estimator
from hpcrefine.schedule.split import Split
from hpcrefine.schedule.terms import Terms

if TYPE_CHECKING:
    from hpcrefine.inference.layered import LayeredNetwork
    from hpcrefine.inference.rules import Rule


class Pool(Staff):
    """Ranks 1, 2, ... of a communicator as workers of rank 0.

    Used as a context: workers serve inside ``with`` until rank 0 leaves it, then skip its body.
    An exception that leaves the body on rank 0, or any on a worker, ends the whole run with rank,
    host and traceback on stderr (an :class:`InputError` ends it in order: it is the user's).

    Parameters
    ----------
    comm : MPI.Comm, optional
        Communicator of at least 2 ranks; default ``MPI.COMM_WORLD``.
    kernel : {"auto", "int8", "float32", "float64"}
        Kernel of the workers; rank 0's choice counts.
    library : str, optional
        Path of the oneDNN library.
    shared_memory : bool, optional
        Let ranks on rank 0's node share memory with it where they can, instead of messages; each
        rank decides for itself. Default True, unless ``HPCREFINE_SHARED_MEMORY`` is 0.

    Examples
    --------
    >>> with hpcrefine.Pool() as pool:                      # doctest: +SKIP
    ...     if pool:
    ...         for r in pool.matmul(A, B, digits=2):
    ...             if r.error_bound < 1e-3:
    ...                 break
    """

    def __init__(
        self,
        comm: MPI.Comm | None = None,
        *,
        kernel: str = "auto",
        library: str | None = None,
        shared_memory: bool | None = None,
    ) -> None:
        super().__init__(comm, kernel, library, shared_memory)
        self._products = Products(self._comm, self._roster, self._commons)
        self._numbers = itertools.count(1)
        self._networks = Networks(
            *(self._comm, self._roster, self._commons, self._products, self._outbox, self._numbers)
        )
        self._last: Product | Stream | Inference | None = None

    @property
    def estimates(self) -> Estimator:
        """How fast the workers of ranks 1, 2, .. are, as far as seen."""
        return self._products.estimates

    def estimate(self, forgetting: float = 0.98, prior: ArrayLike | None = None) -> None:
        """Begin to estimate anew how fast workers are, for the split ``optimal``.

        Parameters
        ----------
        forgetting : float
            What an observed time counts for after each further one; above 0, at most 1.
        prior : array_like, shape (workers,), optional
            Seconds per digit product that are expected.
        """
        self._products.estimate(forgetting, prior)

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        digits: int = 2,
        digit_bits: int = 8,
        layers: str = "antidiagonal",
        scale: str = "row",
        truncate: int | None = None,
        tolerance: float | None = None,
        relative_tolerance: float | None = None,
        code: str = "uncoded",
        tasks: int | None = None,
        redundancy: float = 1.0,
        unit: str = "layer",
        split: str | Split = "uniform",
        survive: int = 0,
        keep_integers: bool = False,
        verify: str = "none",
    ) -> Product:
        """Multiply in layers of resolution.

        Parameters
        ----------
        a : ndarray, shape (n, k)
            float64, float32 or integers, in any memory order.
        b : ndarray, shape (k, p)
            The same.
        digits, digit_bits : int
            Each operand is rounded to 1..7 digits of 1..8 bits.
        layers : {"antidiagonal", "product", "square"}
            Which mini-jobs are released together.
        scale : {"row", "matrix"}
            One scale per row of a and column of b, or one per matrix.
        truncate : int, optional
            Mini-jobs with i + j above it are never computed.
        tolerance, relative_tolerance : float, optional
            Layers beyond the first whose bound meets it are never computed.
        code : str
            How blocks are coded, see :data:`hpcrefine.codes.CODES`.
        tasks : int, optional
            K; default four a worker with a code, else as few as give kernels all their speed.
        redundancy : float
            Omega; ceil(Omega K) tasks are computed.
        unit : {"layer", "minijob"}
            What is cut into K tasks.
        split : str or Split
            Load split: uniform, optimal (by the times of earlier products' tasks) or dynamic.
        survive : int
            Workers whose loss must leave all recoverable.
        keep_integers : bool
            Keep every layer's integers for :meth:`Product.integers`.
        verify : {"none", "freivalds"}
            Whether each result is checked before it is used; wrong ones are computed again
            elsewhere or decoded around.

        Returns
        -------
        Product
            An iterator of :class:`~hpcrefine.cluster.master.Resolution`. The next product of this
            pool first waits until the workers have dropped what was left of this one.

        Raises
        ------
        InputError
            If operands or options are wrong; the message says which.
        """
        start = self._begin()
        check_operands(a, b)
        cut = Cut(digits, digit_bits, scale, code, tasks, redundancy, Split.of(split), survive)
        wanted = Wanted(
            layers, truncate, tolerance, relative_tolerance, unit, keep_integers, verify
        )
        left = cut.quantise(a, "a", self._commons.team)
        right, layered, bounds = self._prepare(left, b, cut, wanted)
        ranks = self._roster.usable
        plan = self._products.plan((*left.shape, b.shape[1]), layered, ranks, cut, unit)
        return self._keep(
            self._products.multiply(start, plan, ranks, (left, right), bounds, wanted)
        )

    def resident(
        self,
        a: Array,
        *,
        digits: int = 2,
        digit_bits: int = 8,
        scale: str = "row",
        code: str = "uncoded",
        tasks: int | None = None,
        redundancy: float = 1.0,
        split: str | Split = "uniform",
        survive: int = 0,
    ) -> Resident:
        """Hand the workers a left operand that they keep for many products.

        Parameters are those of :meth:`matmul`.

        Returns
        -------
        Resident
            Its ``matmul(b)`` multiplies.

        Raises
        ------
        InputError
            If the operand or options are wrong; the message says which.
        """
        self._begin()
        check_matrix(a, "a")
        cut = Cut(digits, digit_bits, scale, code, tasks, redundancy, Split.of(split), survive)
        left = cut.quantise(a, "a", self._commons.team)
        number = next(self._numbers)
        plan, ranks = self._products.hold(number, left, cut)
        return Resident(self, number, left, cut, plan, ranks)

    def oneshot(self, a: Array, b: Array, *, tasks: int | None = None) -> Product:
        """Multiply in float64 BLAS on the workers, uncoded, all or nothing.

        Parameters
        ----------
        a, b : ndarray, shapes (n, k) and (k, p)
            Operands; not to be changed before the result is there.
        tasks : int, optional
            Blocks of rows; default one a worker.

        Raises
        ------
        InputError
            If operands or options are wrong; the message says which.
        """
        start = self._begin()
        check_operands(a, b)
        return self._keep(self._products.oneshot(start, self._roster.usable, a, b, tasks))

    def multiply_resident(self, a: Resident, b: Array, wanted: Wanted) -> Product:
        """Multiply by an operand at the workers; :meth:`Resident.matmul` is the way to it."""
        start = self._begin()
        right, layers, bounds = self._prepare(a.left, b, a.cut, wanted)
        plan = a.plan.with_layers((*a.left.shape, b.shape[1]), layers, wanted.unit)
        plan, ranks = self._products.deal(plan, a.ranks)
        pair = a.left, right
        return self._keep(
            self._products.multiply(start, plan, ranks, pair, bounds, wanted, held=a.number)
        )

    def stream(
        self,
        operands: Iterable[Array | tuple[Array, Array]],
        arrivals: ArrayLike,
        *,
        a: Resident | None = None,
        deadline: float | None = None,
        policy: str = "queue",
        oneshot: bool = False,
        **options: Any,
    ) -> Stream:
        """Multiply for jobs that arrive one after the other and wait in one queue.

        Parameters
        ----------
        operands : iterable
            For each job what it brings: its right operand, where ``a`` is the left one of all, or
            both. They are drawn from it in a thread, one job ahead, and must then stay as they are.
        arrivals : array_like, shape (jobs,)
            When each job arrives, in seconds since the stream begins, ascending.
        a : Resident, optional
            A left operand at the workers. With a split that is not uniform they hold all of it.
        deadline : float, optional
            Seconds that a job may take.
        policy : {"queue", "strict"}
            What ends at the deadline, see :class:`hpcrefine.schedule.terms.Terms`.
        oneshot : bool
            Multiply in float64, all or nothing; other options are then ``tasks`` alone.
        **options
            Those of :meth:`matmul`, or of :meth:`Resident.matmul` with ``a``.

        Returns
        -------
        Stream
            An iterator of :class:`~hpcrefine.cluster.stream.StreamedJob`, each an iterator of
            resolutions. The pool's next product first waits until nothing of it is in flight.

        Raises
        ------
        InputError
            If options are wrong; operands are checked when their job is prepared.

        Examples
        --------
        >>> with pool.stream(batches, arrivals, a=weights) as stream:       # doctest: +SKIP
        ...     for job in stream:
        ...         for r in job:
        ...             print(job.position, r.layer, r.error_bound)
        """
        self._begin()
        terms = Terms(np.array(arrivals, np.float64), deadline, policy)
        if oneshot:
            prepare: Callable[[Any], Preparation] = self._products.plain(**options)
        elif a is not None:
            prepare = self._products.beside(a, Wanted(**options))
        else:
            prepare = self._products.paired(*read_options(options))
        supply = Supply(operands, prepare)
        self._last = stream = Stream(terms, supply, self._roster, self._products.learn)
        return stream

    def infer(
        self,
        network: "LayeredNetwork",
        samples: NDArray[Any],
        *,
        rule: "Rule",
        block: int | None = None,
        distribute: str = "samples",
        deadline: float | None = None,
        code: str = "uncoded",
        tasks: int | None = None,
        redundancy: float = 1.0,
        split: str | Split = "uniform",
        survive: int = 0,
        verify: str = "none",
    ) -> Inference:
        """Evaluate a network upgrade by upgrade, for the samples that are not decided yet.

        Workers keep the network for as long as it is not garbage here; it is sent once.

        Parameters
        ----------
        network : LayeredNetwork
            From :func:`hpcrefine.inference.quantise.quantise`.
        samples : ndarray, shape (n, *input_shape)
            Numbers as they are in files; not to be changed before the inference is settled.
        rule : Rule
            Which samples are decided by which upgrade; the others go on to the next.
        block : int, optional
            Samples that are evaluated together, at most.
        distribute : {"samples", "products"}
            What workers share: blocks of samples, each evaluated by one of them; or every product
            of a linear layer, coded, while the master does all else.
        deadline : float, optional
            Seconds from now on after which what is not there is given up.
        code, tasks, redundancy, split, survive, verify
            Of products, as in :meth:`matmul`; a layer of few channels is cut into fewer tasks.

        Returns
        -------
        Inference
            An iterator of :class:`~hpcrefine.cluster.inference.Upgraded`.

        Raises
        ------
        InputError
            If something does not fit; the message says what.
        """
        check_inference(network, samples, rule, block, distribute)
        start = self._begin()
        cut = Cut(1, 8, "row", code, tasks, redundancy, Split.of(split), survive)
        wanted = Wanted(verify=verify)
        if distribute == "products":
            begun = self._networks.by_products(
                network, samples, rule, block, start, deadline, cut, wanted
            )
        elif (cut, wanted) != (Cut(digits=1), Wanted()):
            raise InputError(
                "distribute: found options of products, expected none with distribute = 'samples'"
            )
        else:
            begun = self._networks.by_samples(network, samples, rule, block, start, deadline)
        self._last = begun
        return begun

    def release(self, number: int) -> None:
        """Let the workers drop a resident operand; :meth:`Resident.release` is the way to it."""
        self.settle()
        self._outbox.command(Command.RELEASE, self._roster.living, held=number)

    def settle(self) -> None:
        """Wait until nothing of the last product or stream is in flight."""
        if self._last is not None:
            self._last.settle()
            if isinstance(self._last, Product):
                self._products.learn(self._last)
            self._last = None
        self._outbox.flush()

    def _keep(self, product: Product) -> Product:
        self._last = product
        return product

    def _begin(self) -> float:
        self.settle()
        self._roster.poll()
        self._ready()
        self._roster.require()
        return MPI.Wtime()

    def _prepare(
        self, left: Quantised, b: Array, cut: Cut, wanted: Wanted
    ) -> tuple[Quantised, tuple[Layer, ...], tuple[Bound, ...]]:
        right = cut.quantise(b, "b", self._commons.team)
        return right, *wanted.choose(left, right)
