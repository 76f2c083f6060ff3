"""What may not fit in the books: a stable code for each, what it means, and how a person mends it.

Owns the codes (docs/operating.md lists them; programs rely on them) and nothing else. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from recorder.model import CallId, RecordingId


class Code(StrEnum):
    """Names one kind of mismatch; never renamed. The worst first: in this order they are told."""

    # audio that must not exist
    PERSONAL_AUDIO = "personal_audio"
    FILE_AGAINST_OUTCOME = "file_against_outcome"
    ERASURE_OVERDUE = "erasure_overdue"
    # our books and Asterisk's own
    CALL_UNKNOWN = "call_unknown"
    CALL_DOUBLED = "call_doubled"
    CALL_LEFT_OPEN = "call_left_open"
    CALL_UNKNOWN_TO_ASTERISK = "call_unknown_to_asterisk"
    OUTCOME_AGAINST_ASTERISK = "outcome_against_asterisk"
    LEDGERS_DISAGREE = "ledgers_disagree"
    LEDGER_UNREADABLE = "ledger_unreadable"
    # the call and its journal
    CALL_WITHOUT_OUTCOME = "call_without_outcome"
    CALL_ENDED_OPEN = "call_ended_open"
    JOURNAL_MISSING = "journal_missing"
    JOURNAL_GAP = "journal_gap"
    JOURNAL_UNREADABLE = "journal_unreadable"
    PHASE_DIFFERS = "phase_differs"
    CONSENT_DIFFERS = "consent_differs"
    OUTCOME_DIFFERS = "outcome_differs"
    CONSENT_EVENT_MISSING = "consent_event_missing"
    CONSENT_EVENT_STRANGE = "consent_event_strange"
    # the chain of consent events
    HEAD_UNKNOWN = "head_unknown"
    CHAIN_BROKEN = "chain_broken"
    CHAIN_GAP = "chain_gap"
    CHAINED_ACT_CHANGED = "chained_act_changed"
    CHAINED_ACT_REMOVED = "chained_act_removed"
    ACT_UNCHAINED = "act_unchained"
    POLICY_CHANGED = "policy_changed"
    # the listening log
    LISTENING_REMOVED = "listening_removed"
    LISTENING_CHANGED = "listening_changed"
    # the call and its recordings
    RECORDED_WITHOUT_RECORDING = "recorded_without_recording"
    RECORDING_AGAINST_OUTCOME = "recording_against_outcome"
    FAILURE_UNACCOUNTED = "failure_unaccounted"
    # a recording and what permits it
    AUTHORITY_MISSING = "authority_missing"
    NOT_PERMITTED = "not_permitted"
    OVERRIDE_UNAUDITED = "override_unaudited"
    OVERRIDE_UNSEALED = "override_unsealed"
    OVERRIDE_WITHOUT_RECORDING = "override_without_recording"
    RECORDING_STUCK = "recording_stuck"
    RECORDING_MISSING = "recording_missing"
    RECORDING_STRANGE = "recording_strange"
    STATUS_DIFFERS = "status_differs"
    # a settled recording and its file
    FILE_MISSING = "file_missing"
    FILE_UNREADABLE = "file_unreadable"
    FILE_SIZE_DIFFERS = "file_size_differs"
    FILE_DIGEST_DIFFERS = "file_digest_differs"
    FILE_SAMPLES_DIFFER = "file_samples_differ"
    SILENCE_BROKEN = "silence_broken"
    # a file that no settled recording accounts for
    FILE_WITHOUT_ROW = "file_without_row"
    FILE_OF_UNSETTLED = "file_of_unsettled"
    FILE_MISPLACED = "file_misplaced"
    FILE_NOT_OURS = "file_not_ours"
    STAGING_LEFT = "staging_left"
    STAGED_WITHOUT_ROW = "staged_without_row"
    STAGED_NOT_REMOVED = "staged_not_removed"
    STAGED_OF_FAILED = "staged_of_failed"


_RESTART: Final = "Start the recorder again: it takes up what is open. If this stays, keep its log and the catalogue."
_TAMPERED: Final = (
    "Only a change from outside, or a write that was refused (the log says step_refused), does this:"
    " compare with a backup of the catalogue."
)
_CHAIN_TAMPERED: Final = (
    "Only a change from outside does this: nothing of ours changes or removes a row of these. Keep the catalogue as it"
    " is, tell the privacy officer, and compare with a backup and with the heads that were noted elsewhere."
)
_UNLAWFUL: Final = "Let nobody listen to it, and tell the privacy officer: the audio has no authority that we can show."
_RESTORE: Final = "Restore the file from a backup; the catalogue has its digest."
_FOREIGN: Final = (
    "Find out who put it there; `recorder adopt` takes it away on your word, the recorder never does by itself."
)

MENDS: Final[dict[Code, str]] = {
    Code.PERSONAL_AUDIO: (
        "Let nobody listen to it, tell the privacy officer now, and find what wrote it (`recorder doctor`)."
        " `recorder adopt` takes a file away."
    ),
    Code.ERASURE_OVERDUE: (
        "Let nobody listen to it. The running recorder tries again each half minute: `sweep_postponed` in its log says"
        " what keeps it from erasing. If it does not run, start it."
    ),
    Code.CALL_UNKNOWN: (
        "Is the recorder running? It takes the queue log and the CDR in each minute and gives such a call its outcome."
        " If this stays, look for sweep_failed in its log."
    ),
    Code.CALL_DOUBLED: _TAMPERED,
    Code.CALL_LEFT_OPEN: _RESTART,
    Code.CALL_UNKNOWN_TO_ASTERISK: (
        "Was a log of Asterisk's cut, edited or switched off then? If not, the call was put into the catalogue:"
        " compare with a backup of both."
    ),
    Code.OUTCOME_AGAINST_ASTERISK: (
        "Read `recorder calls show` beside the queue log's lines of its caller: one of the two was changed, or the"
        " recorder missed what happened."
    ),
    Code.LEDGERS_DISAGREE: "A line of Asterisk's own ledgers is gone: was one cut, edited or switched off then?",
    Code.LEDGER_UNREADABLE: (
        "Let [pbx] queue_log and cdr name the files that Asterisk writes, readable for the recorder; `recorder doctor`"
        " says what is missing."
    ),
    Code.CALL_WITHOUT_OUTCOME: _RESTART,
    Code.CALL_ENDED_OPEN: _TAMPERED,
    Code.JOURNAL_MISSING: _TAMPERED,
    Code.JOURNAL_GAP: _TAMPERED,
    Code.JOURNAL_UNREADABLE: "An event of another version: install the version that wrote it, then verify with that.",
    Code.PHASE_DIFFERS: _TAMPERED,
    Code.CONSENT_DIFFERS: _TAMPERED,
    Code.OUTCOME_DIFFERS: _TAMPERED,
    Code.CONSENT_EVENT_MISSING: _TAMPERED,
    Code.CONSENT_EVENT_STRANGE: _TAMPERED,
    Code.HEAD_UNKNOWN: _CHAIN_TAMPERED,
    Code.CHAIN_BROKEN: _CHAIN_TAMPERED,
    Code.CHAIN_GAP: _CHAIN_TAMPERED,
    Code.CHAINED_ACT_CHANGED: _CHAIN_TAMPERED,
    Code.CHAINED_ACT_REMOVED: _CHAIN_TAMPERED,
    Code.ACT_UNCHAINED: (
        "It was put into the catalogue past the recorder: compare with a backup. (What an older recorder wrote,"
        " `recorder db upgrade` chains.)"
    ),
    Code.POLICY_CHANGED: _CHAIN_TAMPERED,
    Code.LISTENING_REMOVED: _CHAIN_TAMPERED,
    Code.LISTENING_CHANGED: _CHAIN_TAMPERED,
    Code.RECORDED_WITHOUT_RECORDING: _TAMPERED,
    Code.RECORDING_AGAINST_OUTCOME: _UNLAWFUL,
    Code.FAILURE_UNACCOUNTED: "Read `recorder calls show` for it: part of the call was lost and no outcome says so.",
    Code.AUTHORITY_MISSING: _UNLAWFUL,
    Code.NOT_PERMITTED: _UNLAWFUL,
    Code.OVERRIDE_UNAUDITED: _UNLAWFUL,
    Code.OVERRIDE_UNSEALED: "Let nobody but the reviewer listen to it: a recording by override is always sealed.",
    Code.OVERRIDE_WITHOUT_RECORDING: _TAMPERED,
    Code.RECORDING_STUCK: _RESTART,
    Code.RECORDING_MISSING: _TAMPERED,
    Code.RECORDING_STRANGE: _TAMPERED,
    Code.STATUS_DIFFERS: _TAMPERED,
    Code.FILE_MISSING: _RESTORE,
    Code.FILE_UNREADABLE: "Give the one who runs verify the right to read it, and check that the disk is sound.",
    Code.FILE_SIZE_DIFFERS: _RESTORE,
    Code.FILE_DIGEST_DIFFERS: _RESTORE,
    Code.FILE_SAMPLES_DIFFER: _TAMPERED,
    Code.SILENCE_BROKEN: (
        "Let nobody listen to it: something was said in a pause, a hold, or beyond what is proved, and is to be heard."
        " Compare the file with a backup, and report it."
    ),
    Code.FILE_WITHOUT_ROW: (
        f"{_UNLAWFUL} A catalogue restored from an older backup does this too. `recorder adopt` takes it away."
    ),
    Code.FILE_OF_UNSETTLED: "Compare it with the call's journal; if it is whole, restore the catalogue that knows it.",
    Code.FILE_MISPLACED: "`recorder adopt` puts it into its place where that is empty, or takes a copy away.",
    Code.FILE_AGAINST_OUTCOME: _UNLAWFUL,
    Code.FILE_NOT_OURS: _FOREIGN,
    Code.STAGING_LEFT: "A settling that was cut left it: remove it while the recorder is stopped.",
    Code.STAGED_WITHOUT_ROW: f"{_UNLAWFUL} `recorder adopt` quarantines or erases it.",
    Code.STAGED_NOT_REMOVED: "The running recorder removes it within a minute; if not, check its rights on the spool.",
    Code.STAGED_OF_FAILED: "`recorder adopt` settles it where an event authorised it and both directions are there.",
}


class RemarkCode(StrEnum):
    """Names one kind of remark: worth a look, and perhaps nothing is wrong. Never renamed."""

    SILENCE_UNTOLD = "silence_untold"


REMARKS: Final[dict[RemarkCode, str]] = {
    RemarkCode.SILENCE_UNTOLD: (
        "Listen to what stands around it: a muted telephone beside a silent one, or no sound from either, does this;"
        " so does who silences a capture past the recorder, or cuts something out of a file."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something that the books allow and a person may want to know of; `mend` is what to look at."""

    code: RemarkCode
    what: str
    call: CallId
    recording: RecordingId
    path: Path

    @property
    def mend(self) -> str:
        return REMARKS[self.code]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One item that does not fit: which, and in `what`, how. An id is None where the item has none."""

    code: Code
    what: str
    call: CallId | None = None
    recording: RecordingId | None = None
    path: Path | None = None

    @property
    def mend(self) -> str:
        return MENDS[self.code]
