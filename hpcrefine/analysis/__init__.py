"""Many records as one study: loaded, compared, modelled. Reads :mod:`hpcrefine.record` alone."""
