"""The HDF5 record of a run: schema, writer, reader, provenance."""
