"""What looks wrong in the log: events in, findings and verdicts out. Pure: it neither reads the log nor acts."""

from gateway.detection import breakers
from gateway.detection.sentences import sentence
from gateway.detection.state import State
from gateway.detection.watch import Told, observe

__all__ = ["State", "Told", "breakers", "observe", "sentence"]
