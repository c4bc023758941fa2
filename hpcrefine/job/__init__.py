"""What a job file can say: one frozen model for each section, and :class:`Job` for the whole.

The attributes of the models are the keys people write. All limits that can be known without looking
at an operand are checked here; :mod:`hpcrefine.jobfile` reads the text and explains the mistakes.
"""

from hpcrefine.job.codes import CodeSection, ComparedCode, CompareSection, Scheme
from hpcrefine.job.faults import (
    Corruption,
    FaultsSection,
    FaultyWorker,
    Moment,
    ServiceTime,
    WorkersSection,
)
from hpcrefine.job.job import Job
from hpcrefine.job.operands import FileOperand, Operand, OperandsSection, RandomOperand
from hpcrefine.job.sections import (
    BaselineSection,
    JobSection,
    KernelSection,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    Stop,
    VerifySection,
)
from hpcrefine.job.stream import RandomRates, SimulatedService, SimulateSection, StreamSection

__all__ = [
    "BaselineSection",
    "CodeSection",
    "CompareSection",
    "ComparedCode",
    "Corruption",
    "FaultsSection",
    "FaultyWorker",
    "FileOperand",
    "Job",
    "JobSection",
    "KernelSection",
    "Moment",
    "Operand",
    "OperandsSection",
    "RandomOperand",
    "RandomRates",
    "RecordSection",
    "ResolutionSection",
    "ScheduleSection",
    "Scheme",
    "ServiceTime",
    "SimulateSection",
    "SimulatedService",
    "Stop",
    "StreamSection",
    "VerifySection",
    "WorkersSection",
]
