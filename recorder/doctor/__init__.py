"""`recorder doctor`: tries everything that the daemon will need against the live PBX, and says how to mend it.

`examine` asks, `judge` and `releases` decide (pure), `findings` puts it into words. Changes no setting of anybody.
"""

from recorder.doctor.examine import Examination
from recorder.doctor.findings import Finding, Mark, is_well, lines, summary

__all__ = ["Examination", "Finding", "Mark", "is_well", "lines", "summary"]
