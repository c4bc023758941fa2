"""What a job file can say: one frozen model for each section, and one for the whole.

That is :class:`Job` for products and :class:`InferenceJob` for networks.

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
from hpcrefine.job.inference import (
    AdaptiveSection,
    CalibrationSection,
    DistributionSection,
    PrecisionSection,
    SamplesSection,
    StopSection,
)
from hpcrefine.job.inferencejob import ADAPTIVE, ALL, InferenceJob, Setting
from hpcrefine.job.job import Job
from hpcrefine.job.operands import FileArray, FileOperand, Operand, OperandsSection, RandomOperand
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

AnyJob = Job | InferenceJob

__all__ = [
    "ADAPTIVE",
    "ALL",
    "AdaptiveSection",
    "AnyJob",
    "BaselineSection",
    "CalibrationSection",
    "CodeSection",
    "CompareSection",
    "ComparedCode",
    "Corruption",
    "DistributionSection",
    "FaultsSection",
    "FaultyWorker",
    "FileArray",
    "FileOperand",
    "InferenceJob",
    "Job",
    "JobSection",
    "KernelSection",
    "Moment",
    "Operand",
    "OperandsSection",
    "PrecisionSection",
    "RandomOperand",
    "RandomRates",
    "RecordSection",
    "ResolutionSection",
    "SamplesSection",
    "ScheduleSection",
    "Scheme",
    "ServiceTime",
    "Setting",
    "SimulateSection",
    "SimulatedService",
    "Stop",
    "StopSection",
    "StreamSection",
    "VerifySection",
    "WorkersSection",
]
