"""A small server that answers as the HEK's search does, with a few flares of September and October 2017."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 3


def _event(start, peak, end, goes_class, region, reporter="SWPC"):
    """One flare with the fields that the HEK sends: times without a zone, unknown values as null."""
    return {
        "event_type": "FL",
        "event_starttime": start,
        "event_peaktime": peak,
        "event_endtime": end,
        "event_coordsys": "UTC-HGS-TOPO",
        "event_coordunit": "degrees",
        "event_coord1": 12.0,
        "event_coord2": -17.0,
        "event_coord3": None,
        "hpc_coord": "POINT(190.1 -300.2)",
        "hgs_coord": "POINT(12 -17)",
        "fl_goescls": goes_class,
        "fl_peakflux": None,
        "fl_peakfluxunit": None,
        "ar_noaanum": region,
        "frm_name": reporter,
        "obs_observatory": "GOES",
        "SOL_standard": f"SOL{start}L000C000",
    }


EVENTS = [
    _event("2017-09-03T23:50:00", "2017-09-04T00:10:00", "2017-09-04T00:20:00", "C8.3", 12673),
    _event("2017-09-04T05:36:00", "2017-09-04T05:49:00", "2017-09-04T06:05:00", "M1.2", 12673),
    _event("2017-09-04T05:37:00", "2017-09-04T05:49:00", "2017-09-04T05:59:00", "M1.2", 12673, "SSW Latest Events"),
    _event("2017-09-06T08:57:00", "2017-09-06T09:10:00", "2017-09-06T09:17:00", "X2.2", 12673),
    _event("2017-09-06T11:53:00", "2017-09-06T12:02:00", "2017-09-06T12:10:00", "X9.3", None),
    _event("2017-09-06T12:00:00", "2017-09-06T12:01:00", "2017-09-06T12:09:00", "", None, "Flare Detective"),
    _event("2017-10-20T23:10:00", "2017-10-20T23:28:00", "2017-10-20T23:37:00", "M1.1", 0),
]


class Hek(BaseHTTPRequestHandler):
    """Answers a search as the HEK does: events that touch the range, three to a page."""

    def do_GET(self):
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.queries.append(query)
        assert (query["cmd"], query["cosec"], query["event_type"]) == ("search", "2", "fl")
        found = [
            event
            for event in EVENTS
            if event["event_endtime"] >= query["event_starttime"] and event["event_starttime"] <= query["event_endtime"]
        ]
        assert query["op0"] == "="
        field = {"FRM_Name": "frm_name", "OBS_Observatory": "obs_observatory"}[query["param0"]]
        found = [event for event in found if event[field] == query["value0"]]
        page = int(query["page"])
        answer = {"result": found[PAGE * (page - 1) : PAGE * page], "overmax": len(found) > PAGE * page}
        body = b"<html>maintenance</html>" if self.server.broken else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serve() -> Iterator[ThreadingHTTPServer]:
    """The server, with its address in ``url``, what it was asked in ``queries``, and ``broken`` to let it fail."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hek)
    server.queries, server.broken = [], False
    server.url = f"http://127.0.0.1:{server.server_port}/hek/her?"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
