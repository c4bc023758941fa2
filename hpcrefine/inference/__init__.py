"""Layered-resolution inference: networks whose answers sharpen with each upgrade; no MPI."""
