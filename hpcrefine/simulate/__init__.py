"""Job files with random workers in place of ranks: the same plans, the same record. No MPI.

Two models (``[simulate] model``):

``published`` (:mod:`hpcrefine.simulate.lockstep`)
    That of the sources: all workers begin a unit together, purged tasks vanish at once, and a job
    that outlives its deadline lets the next one start at that one's own arrival. All jobs of a
    stream are drawn at a time.
``ranks`` (:mod:`hpcrefine.simulate.ranks`)
    That of real ranks: workers go on by themselves and finish what they have begun, also when it is
    late, or of a job that has ended. Job after job.

With operands, tasks cost what they cost on ranks: a combination of blocks several times as much as
a plain block, since it needs more planes of int8. With ``[operands] operations`` alone all tasks of
a unit cost the same, as in the sources. Messages, decoding and so on take what ``[simulate]`` says,
or what a measured record tells (:mod:`hpcrefine.simulate.calibration`); bytes and cores are not
modelled.
"""
