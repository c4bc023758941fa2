"""The suite measured against its peers and against the machine: ``python -m bench --help``.

Each comparison is a module that runs by itself as well: ``python -m bench.products --help``.
Importing this package fixes the threads of BLAS, which must happen before NumPy loads.
"""

from hpcrefine import launch

launch.prepare_process()
