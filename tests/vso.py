"""A Virtual Solar Observatory of one server: its SOAP service, described in WSDL, and the files that it points to.

Written for the calls that sunpy's `VSOClient` makes (Query and GetData, rpc/literal); types hold no more than they use.
"""

from __future__ import annotations

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

NAMESPACE = "http://virtualsolar.org/VSO/VSOi"

_TYPES = {
    "Time": "start:string end:string near:string",
    "Wave": "wavemin:string wavemax:string wavetype:string waveunit:string",
    "QueryRequestBlock": "time:Time provider:string source:string instrument:string physobs:string wave:Wave",
    "QueryRequest": "version:float block:QueryRequestBlock",
    "QueryResponseBlock": "provider:string source:string instrument:string physobs:string time:Time wave:Wave "
    "size:float info:string fileid:string",
    "Record": "recorditem:QueryResponseBlock*",
    "ProviderQueryResponse": "provider:string version:float error:string no_of_records_found:int "
    "no_of_records_returned:int record:Record",
    "QueryResponse": "provideritem:ProviderQueryResponse*",
    "MethodItem": "methodtype:string*",
    "Info": "email:string site:string",
    "FileidItem": "fileid:string*",
    "DataRequestItem": "provider:string fileiditem:FileidItem",
    "DataContainer": "datarequestitem:DataRequestItem*",
    "GetDataRequest": "method:MethodItem info:Info datacontainer:DataContainer",
    "VSOGetDataRequest": "version:float request:GetDataRequest",
    "DataItem": "url:string fileiditem:FileidItem",
    "GetDataItem": "dataitem:DataItem*",
    "GetDataResponseItem": "provider:string version:float status:string method:MethodItem getdataitem:GetDataItem",
    "VSOGetDataResponse": "getdataresponseitem:GetDataResponseItem*",
}


def _element(text: str) -> str:
    name, kind = text.rstrip("*").split(":")
    kind = f"tns:{kind}" if kind in _TYPES else f"xsd:{kind}"
    many = "unbounded" if text.endswith("*") else "1"
    return f'<xsd:element name="{name}" type="{kind}" minOccurs="0" maxOccurs="{many}"/>'


def _wsdl(url: str) -> str:
    types = "".join(
        f'<xsd:complexType name="{name}"><xsd:sequence>{"".join(map(_element, fields.split()))}</xsd:sequence>'
        "</xsd:complexType>"
        for name, fields in _TYPES.items()
    )
    body = f'<soap:body use="literal" namespace="{NAMESPACE}"/>'
    calls = {"Query": ("QueryRequest", "QueryResponse"), "GetData": ("VSOGetDataRequest", "VSOGetDataResponse")}
    messages = "".join(
        f'<message name="{call}{way}"><part name="body" type="tns:{kind}"/></message>'
        for call, kinds in calls.items()
        for way, kind in zip(("In", "Out"), kinds, strict=True)
    )
    operations = "".join(
        f'<operation name="{call}"><input message="tns:{call}In"/><output message="tns:{call}Out"/></operation>'
        for call in calls
    )
    bound = "".join(
        f'<operation name="{call}"><soap:operation soapAction="{NAMESPACE}#{call}"/><input>{body}</input>'
        f"<output>{body}</output></operation>"
        for call in calls
    )
    return (
        f'<?xml version="1.0"?><definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:tns="{NAMESPACE}" '
        f'targetNamespace="{NAMESPACE}" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f'<types><xsd:schema targetNamespace="{NAMESPACE}">{types}</xsd:schema></types>{messages}'
        f'<portType name="VSOiPort">{operations}</portType><binding name="VSOiBinding" type="tns:VSOiPort">'
        f'<soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>{bound}</binding>'
        '<service name="VSOiService"><port name="nsoVSOi" binding="tns:VSOiBinding">'
        f'<soap:address location="{url}/cgi"/></port></service></definitions>'
    )


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/vso.wsdl":
            self._send(_wsdl(self.server.vso.url).encode(), "text/xml")
        elif self.path == "/cgi":
            # The real one answers a plain GET in this way, and sunpy takes it for a sign of life.
            self.send_error(411)
        else:
            self.server.vso.asked.append(Path(self.path).name)
            super().do_GET()

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        call = self.headers["SOAPAction"].strip('"').partition("#")[2]
        answer = self.server.vso.query(text) if call == "Query" else self.server.vso.get_data(text)
        envelope = (
            '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<n:{call}Response xmlns:n="{NAMESPACE}"><body>{answer}</body></n:{call}Response></s:Body></s:Envelope>'
        )
        self._send(envelope.encode(), "text/xml")

    def end_headers(self):
        if "193A" in self.path:
            # Most providers behind the VSO name their files in this way, some do not.
            self.send_header("Content-Disposition", f'attachment; filename="{Path(self.path).name}"')
        super().end_headers()

    def _send(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _value(text: str, name: str) -> str:
    match = re.search(rf"<(?:\w+:)?{name}>([^<]*)<", text)
    return match[1] if match else ""


class Vso:
    """The server. Each file under `root` is listed as ``(instrument, wavelength, time)``, time as 20170101000000."""

    def __init__(self, root: Path):
        self.root = root
        self.files: dict[str, tuple[str, int, str]] = {}
        self.asked: list[str] = []
        self.queries: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(root)))
        self.server.vso = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def query(self, text: str) -> str:
        self.queries.append(text)
        begin, end, instrument = (_value(text, name) for name in ("start", "end", "instrument"))
        wavelength = float(_value(text, "wavemin") or 0)
        found = [
            f"<recorditem><provider>JSOC</provider><source>SDO</source><instrument>{aim}</instrument><physobs>intensity"
            f"</physobs><time><start>{time}</start><end>{time}</end></time><wave><wavemin>{wave}</wavemin><wavemax>{wave}"
            f"</wavemax><wavetype>NARROW</wavetype><waveunit>Angstrom</waveunit></wave><size>66200</size>"
            f"<fileid>{escape(self.fileid(name))}</fileid></recorditem>"
            for name, (aim, wave, time) in self.files.items()
            if aim.lower() == instrument.lower() and wavelength in (0, wave) and begin[:14] <= time <= end[:14]
        ]
        return (
            f"<provideritem><provider>JSOC</provider><no_of_records_found>{len(found)}</no_of_records_found>"
            f"<no_of_records_returned>{len(found)}</no_of_records_returned><record>{''.join(found)}</record></provideritem>"
        )

    @staticmethod
    def fileid(name: str) -> str:
        """The archive's own name of a file: not the name that it is downloaded under."""
        return f"aia__lev1:{name.removesuffix('.fits')}:image"

    def get_data(self, text: str) -> str:
        asked = re.findall(r"<(?:\w+:)?fileid>([^<]*)<", text)
        names = {self.fileid(name): name for name in self.files}
        items = "".join(
            f"<dataitem><url>{self.url}/{names[one]}</url><fileiditem><fileid>{one}</fileid></fileiditem></dataitem>"
            for one in asked
        )
        return (
            "<getdataresponseitem><provider>JSOC</provider><method><methodtype>URL-FILE</methodtype></method>"
            f"<getdataitem>{items}</getdataitem></getdataresponseitem>"
        )

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
