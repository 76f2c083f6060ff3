"""The catalogue: what was agreed, captured and decided, in SQLite or PostgreSQL. Only this room touches tables.

store.py is its door (`Catalogue`, `open_catalogue`); schema.py makes and upgrades a database.
"""

from recorder.catalogue.answers import Asking, KeptAnswer
from recorder.catalogue.counting import ANSWERS, AnswerCount, Counted, HourCount, OutcomeCount, Span
from recorder.catalogue.engine import CALLER_WAITS
from recorder.catalogue.errors import (
    CatalogueAway,
    CatalogueError,
    CatalogueRefused,
    CatalogueSchema,
    CatalogueUnfit,
)
from recorder.catalogue.finding import FoundCall, Sought
from recorder.catalogue.listening import LOG as LISTENING_LOG
from recorder.catalogue.listening import Logged, LogSought
from recorder.catalogue.own import Candidates, OwnSought, ToldCall, ToldRecording
from recorder.catalogue.rows import (
    AuditRow,
    BookedCall,
    CallRow,
    Chained,
    ChainRow,
    ConsentRow,
    Counts,
    FileAct,
    FileAction,
    JournalRow,
    LegRow,
    PolicyRow,
    PromptRow,
    RecordingRow,
    Unchained,
    WholeCall,
    booked,
)
from recorder.catalogue.saving import SAVED_MOST, SavedSearch, Unsaved
from recorder.catalogue.schema import current, downgrade, newest, upgrade
from recorder.catalogue.signing_in import Known
from recorder.catalogue.store import READER_WAITS, Catalogue, open_catalogue

__all__ = [
    "ANSWERS",
    "CALLER_WAITS",
    "LISTENING_LOG",
    "READER_WAITS",
    "SAVED_MOST",
    "AnswerCount",
    "Asking",
    "AuditRow",
    "BookedCall",
    "CallRow",
    "Candidates",
    "Catalogue",
    "CatalogueAway",
    "CatalogueError",
    "CatalogueRefused",
    "CatalogueSchema",
    "CatalogueUnfit",
    "ChainRow",
    "Chained",
    "ConsentRow",
    "Counted",
    "Counts",
    "FileAct",
    "FileAction",
    "FoundCall",
    "HourCount",
    "JournalRow",
    "KeptAnswer",
    "Known",
    "LegRow",
    "LogSought",
    "Logged",
    "OutcomeCount",
    "OwnSought",
    "PolicyRow",
    "PromptRow",
    "RecordingRow",
    "SavedSearch",
    "Sought",
    "Span",
    "ToldCall",
    "ToldRecording",
    "Unchained",
    "Unsaved",
    "WholeCall",
    "booked",
    "current",
    "downgrade",
    "newest",
    "open_catalogue",
    "upgrade",
]
