"""Small integer generators: every square submatrix invertible, entries as small as can be found."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_MOST_TRIED = 2**24  # a bound for the search where there are hundreds of parities


@cache
def parity_generator(parities: int, tasks: int) -> NDArray[np.int64]:
    r"""Return an integer matrix, shape (parities, tasks), all of whose minors are non-zero.

    A Cauchy matrix over the integers modulo a prime p >= parities + tasks has no zero minor modulo
    p, so its entries taken in (-p/2, p/2) have none over the integers either: with the identity
    above it, any ``tasks`` rows are independent (the code is MDS). Columns and rows may be scaled
    modulo p; of the scalings of each column the one with the smallest entries is taken, because
    coded digits grow with them. Source of the construction: MacWilliams and Sloane, "The Theory of
    Error-Correcting Codes", ch. 11.
    """
    if parities == 0:
        return np.zeros((0, tasks), np.int64)
    if parities == 1:
        return np.ones((1, tasks), np.int64)
    prime = _prime_from(parities + tasks)
    differences = np.arange(parities)[:, None] - np.arange(parities, parities + tasks)
    inverse = np.array([0] + [pow(x, -1, prime) for x in range(1, prime)], np.int64)
    cauchy = inverse[differences % prime]
    cauchy = cauchy * inverse[cauchy[:, :1]] % prime  # the first column becomes ones
    columns = [_smallest_multiple(column, prime) for column in cauchy.T]
    return np.stack(columns, axis=1)


def _smallest_multiple(column: NDArray[np.int64], prime: int) -> NDArray[np.int64]:
    count = min(prime, max(2, _MOST_TRIED // len(column) ** 2))
    multiples = column * np.arange(1, count)[:, None] % prime
    balanced = np.where(multiples > prime // 2, multiples - prime, multiples)
    sizes = np.abs(balanced).max(axis=1) * prime * len(column) + np.abs(balanced).sum(axis=1)
    best: NDArray[np.int64] = balanced[np.argmin(sizes)]
    return best


def _prime_from(start: int) -> int:
    candidate = max(start, 2)
    while any(candidate % x == 0 for x in range(2, int(candidate**0.5) + 1)):
        candidate += 1
    return candidate
