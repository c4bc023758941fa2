"""What an early result is good for: nearest neighbours from each resolution of one product.

Classifies Fashion-MNIST pictures by the most similar of 6,000 labelled ones (cosine similarity),
once from each resolution as it arrives. Run it with

    mpiexec -n 3 python jobs/neighbours.py
"""

from pathlib import Path

import numpy as np

import hpcrefine
from hpcrefine.inputs.formats import read_idx

DATA = Path(__file__).parent / "data"
KNOWN = 6000


def main() -> None:
    """Print accuracy, time and guaranteed error of each resolution."""
    with hpcrefine.Pool() as pool:
        if not pool:
            return  # a worker: it has served
        pictures = read_idx(DATA / "fashion-mnist-test-images.idx.gz").reshape(10000, -1)
        labels = read_idx(DATA / "fashion-mnist-test-labels.idx.gz")
        x = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
        known, asked = x[:KNOWN], x[KNOWN:]

        def accuracy(similarity: np.ndarray) -> float:
            nearest = similarity.argmax(axis=1)
            return 100 * float(np.mean(labels[nearest] == labels[KNOWN:]))

        resolutions = list(pool.matmul(asked, known.T, digits=2, digit_bits=8))
        for r in resolutions:
            print(
                f"layer {r.layer}: accuracy {accuracy(r.value):.2f} %  after {r.seconds:.3f} s  "
                f"with {r.share:.0%} of the operations, error at most {r.error_bound:.1e}"
            )
        print(f"exact  : accuracy {accuracy(asked @ known.T):.2f} %")


if __name__ == "__main__":
    main()
