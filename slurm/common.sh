# shellcheck shell=bash
# What the scripts beside it have in common. They source it.

# What starts the ranks: hpcrefine finds the mpiexec beside its own Python. Say here, or where you
# submit, if it is to be another:
#   export HPCREFINE_MPIEXEC="srun --mpi=pmi2"     # MPICH
#   export HPCREFINE_MPIEXEC="srun --mpi=pmix"     # an Open MPI built with Slurm's PMIx

# A rank has the cores of a task. Since Slurm 22.05 srun does not take their number over.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# A folder on the node's own disk, to write records to: locks and frequent small writes are not for
# shared file systems.
local_folder() {
    mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/hpcrefine.XXXXXX"
}

# run COMMAND...: run it, and tell it what Slurm tells this shell: USR1 before the time limit (with
# #SBATCH --signal=B:USR1@60), TERM at a cancellation. CONT must not be trapped: bash would lose USR1.
run() {
    local code
    child='' told=''
    trap 'tell USR1' USR1
    trap 'tell TERM' TERM
    "$@" &
    child=$!
    [[ -z $told ]] || tell "$told"
    while :; do # a signal ends wait, though not the command
        code=0
        wait "$child" || code=$?
        kill -0 "$child" 2>/dev/null || return "$code"
    done
}
tell() {
    told=$1
    [[ -z $child ]] || kill -"$told" "$child" 2>/dev/null || :
}
