"""`recorder init`: settings, dialplan includes and an AMI account for this PBX, as changes that are shown first.

`propose` asks and lays out, `texts` words it (pure), `changes` shows and makes it. Never reloads the PBX.
"""

from recorder.init.changes import Change, make, shown
from recorder.init.propose import Choices, InitRefused, Known, Plan, ask, plan

__all__ = ["Change", "Choices", "InitRefused", "Known", "Plan", "ask", "make", "plan", "shown"]
