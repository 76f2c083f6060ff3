"""The three ways in which the catalogue says no. Each keeps its cause; none carries a value that was written."""

from __future__ import annotations

from recorder.model import RecorderError
from recorder.rights import Unfit


class CatalogueError(RecorderError):
    """Root of what the catalogue raises."""

    code = "catalogue_error"


class CatalogueAway(CatalogueError):
    """The catalogue could not do it, or not in time.

    `may_land` is False where it is certain that nothing was or will be written. It is True only where the commit was
    under way when the time was up or the connection broke: then the write is in, or will be, or is not. Who must know
    says the same write again: it is applied once, and it queues behind the first, so its answer settles the matter.
    """

    code = "catalogue_away"

    def __init__(self, why: str, *, may_land: bool = False) -> None:
        super().__init__(why)
        self.may_land = may_land


class CatalogueRefused(CatalogueError):
    """A rule of the schema, or a compare-and-set, does not allow this write. Nothing of it was written."""

    code = "catalogue_refused"


class CatalogueUnfit(CatalogueRefused):
    """It is not for who asks to do this to these people: `why` says what stands against it."""

    code = "catalogue_unfit"

    def __init__(self, why: Unfit) -> None:
        super().__init__(f"it is not for who asks to do this: {why}")
        self.why = why


class CatalogueSchema(CatalogueError):
    """There is no catalogue at this address, or its revision is not the one that this program speaks."""

    code = "catalogue_schema"
