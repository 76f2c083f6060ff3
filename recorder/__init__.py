"""Consent-first call recorder for Asterisk contact centres."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("recorder-for-asterisk")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+source"
