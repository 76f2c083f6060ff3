"""HTTP: health and metrics for monitors, the API for programs and the pages for people, on a port of its own.

Never touches the PBX or recordings.
"""

from recorder.http.api import api_routes
from recorder.http.app import Answers, make_app
from recorder.http.door import Door, Unlet
from recorder.http.hearing import hearing_routes
from recorder.http.pages import page_routes
from recorder.http.server import HttpServer
from recorder.http.watching import Watching

__all__ = [
    "Answers",
    "Door",
    "HttpServer",
    "Unlet",
    "Watching",
    "api_routes",
    "hearing_routes",
    "make_app",
    "page_routes",
]
