"""The daemon: wires the PBX's events, the dialogue, the captures and the sweeps together, and keeps them running."""

from recorder.daemon.alarm_watch import AlarmWatch
from recorder.daemon.away import AwayDesk
from recorder.daemon.behind import Lookout
from recorder.daemon.bookkeeper import Bookkeeper
from recorder.daemon.calls import CallBook
from recorder.daemon.fallback_watch import FallbackWatch
from recorder.daemon.fullness import FullnessWatch
from recorder.daemon.growth import GrowthWatch
from recorder.daemon.house_watch import HouseWatch
from recorder.daemon.line_watch import LineWatch
from recorder.daemon.live_desk import LiveDesk
from recorder.daemon.members import Members
from recorder.daemon.number_watch import NumberWatch
from recorder.daemon.override_watch import OverrideWatch
from recorder.daemon.owed import CallCounters
from recorder.daemon.pauses import PauseWatch
from recorder.daemon.policy_watch import PolicyWatch
from recorder.daemon.readiness import Readiness
from recorder.daemon.reception import FrontDesk
from recorder.daemon.rivals import RivalWatch
from recorder.daemon.runner import CallRunner
from recorder.daemon.service import Daemon, Parts

__all__ = [
    "AlarmWatch",
    "AwayDesk",
    "Bookkeeper",
    "CallBook",
    "CallCounters",
    "CallRunner",
    "Daemon",
    "FallbackWatch",
    "FrontDesk",
    "FullnessWatch",
    "GrowthWatch",
    "HouseWatch",
    "LineWatch",
    "LiveDesk",
    "Lookout",
    "Members",
    "NumberWatch",
    "OverrideWatch",
    "Parts",
    "PauseWatch",
    "PolicyWatch",
    "Readiness",
    "RivalWatch",
]
