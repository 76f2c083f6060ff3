"""HTTP: health and metrics for monitors, the API for programs and the pages for people, on a port of its own.

Never touches the PBX or recordings.
"""

from recorder.http.api import api_routes
from recorder.http.app import Answers, make_app
from recorder.http.browsing import browsing_routes
from recorder.http.comment_pages import comment_page_routes
from recorder.http.commenting import comment_routes
from recorder.http.contesting import contest_routes
from recorder.http.counting import counting_routes
from recorder.http.door import Door, Unlet
from recorder.http.exporting import Exports
from recorder.http.finding import finding_routes
from recorder.http.hearing import hearing_routes
from recorder.http.house import house_routes
from recorder.http.listening_log import log_routes
from recorder.http.once import Once
from recorder.http.own import own_routes
from recorder.http.own_pages import contest_page_routes, own_page_routes
from recorder.http.pages import Pages, page_routes
from recorder.http.people import People, people_routes
from recorder.http.people_pages import people_page_routes
from recorder.http.saving import saved_routes
from recorder.http.searching import searching_routes
from recorder.http.server import HttpServer
from recorder.http.system import system_routes
from recorder.http.watching import Watching

__all__ = [
    "Answers",
    "Door",
    "Exports",
    "HttpServer",
    "Once",
    "Pages",
    "People",
    "Unlet",
    "Watching",
    "api_routes",
    "browsing_routes",
    "comment_page_routes",
    "comment_routes",
    "contest_page_routes",
    "contest_routes",
    "counting_routes",
    "finding_routes",
    "hearing_routes",
    "house_routes",
    "log_routes",
    "make_app",
    "own_page_routes",
    "own_routes",
    "page_routes",
    "people_page_routes",
    "people_routes",
    "saved_routes",
    "searching_routes",
    "system_routes",
]
