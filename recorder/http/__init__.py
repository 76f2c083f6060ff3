"""HTTP: health, status and metrics, on a port of its own. Never touches the PBX or recordings."""

from recorder.http.app import Answers, make_app
from recorder.http.server import HttpServer

__all__ = ["Answers", "HttpServer", "make_app"]
