"""Studies: a job file swept over ranks, sizes and any other keys; run here or handed to Slurm."""
