"""A day with the gateway, with grpcio only. A local authority's system sends referral, plan and passport; a
provider's system accepts, acknowledges, and submits attendance and progress; an auditor lists the exchanges.

Usage: quickstart.py PROTO_FOLDER SANDBOX_FOLDER
Needs grpcio and grpcio-tools, and a sandbox: ap-gateway sandbox --dir SANDBOX_FOLDER --clock 2026-11-20T16:00:00Z
"""
import importlib
import json
import pathlib
import sys
import tempfile
import tomllib
import uuid

import grpc
import grpc_tools
from google.protobuf import json_format
from grpc_tools import protoc

protos, sandbox = map(pathlib.Path, sys.argv[1:3])
generated = tempfile.TemporaryDirectory()
sources = sorted(str(path.relative_to(protos)) for path in protos.glob("apgateway/v1/*.proto"))
well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
out = [f"--python_out={generated.name}", f"--grpc_python_out={generated.name}"]
assert protoc.main(["protoc", f"-I{protos}", f"-I{well_known}", *out, *sources]) == 0
sys.path.insert(0, generated.name)


class System:
    """One of the sandbox's systems, identified by its certificate."""

    def __init__(self, name):
        folder = sandbox / "profiles"
        profile = tomllib.loads((folder / f"{name}.toml").read_text())
        ca, key, certificate = ((folder / profile[file]).read_bytes() for file in ("ca", "key", "certificate"))
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        self.channel = grpc.secure_channel(profile["endpoint"], credentials)

    def call(self, service, method, **fields):
        """Calls apgateway.v1.<service>Service.<method>; fields are as in protobuf JSON."""
        described = importlib.import_module(f"apgateway.v1.{service.lower()}_pb2").DESCRIPTOR
        stub = importlib.import_module(f"apgateway.v1.{service.lower()}_pb2_grpc")
        takes = described.services_by_name[f"{service}Service"].methods_by_name[method].input_type
        if "request_id" in takes.fields_by_name:
            # Keep the id until the response arrives: a retry with the same request gets the same response.
            fields = {"request_id": str(uuid.uuid4()), **fields}
        request = json_format.ParseDict(fields, takes._concrete_class())
        return getattr(getattr(stub, f"{service}ServiceStub")(self.channel), method)(request, timeout=30)


world = json.loads((sandbox / "world.json").read_text())
agreement = next(a for a in world["agreements"] if (a["commissioner"], a["provider"]) == ("la-a", "provider-a"))
la, provider, auditor = System("la-a"), System("provider-a"), System("auditor")
officer, head = {"name": "Sam Example", "role": "AP officer"}, {"name": "Jo Example", "role": "head of centre"}

# Referral: the child, the legal basis, and safety information.
placement = la.call(
    "Placement", "CreateReferral", provider="provider/riverside", la_of_residence="la/330",
    child={"legal_surname": "Kestrel", "legal_forename": "Wren", "date_of_birth": "2012-03-04", "year_group": 9},
    legal_basis="LEGAL_BASIS_SECTION_19", reason="PLACEMENT_REASON_MENTAL_HEALTH", officer=officer,
    agreement_id=agreement["agreement_id"], safety="none known", needs="a quiet start to the day",
)
about = {"placement_id": placement.placement_id}
accept = {"provider_reference": f"WREN-{placement.placement_id[:8]}"}
answered = provider.call("Placement", "RespondToReferral", **about, etag=placement.etag, accept=accept)
decision = {
    "approved": True, "rationale": "the offer meets the need", "decided_by": officer, "decided_on": "2026-09-01",
    "child_view": {"text": "would like to try it"}, "parent_view": {"text": "agree"},
    "options_considered": ["stay with support", "tuition"],
}
decided = la.call("Placement", "DecidePlacement", **about, etag=answered.etag, decision=decision)

# Plan and passport.
monday = {"weekday": "WEEKDAY_MONDAY", "session": "SESSION_AM", "minutes_planned": 150, "cut_off": "10:00"}
plan = {
    "setting_type": "SETTING_TYPE_OTHER_UNREGISTERED", "purpose": "back to full-time education",
    "start_date": "2026-09-01", "planned_end_date": "2026-12-18", "review_dates": ["2026-10-16"],
    "timetable": [monday], "success_criteria": "90 % over six weeks", "exit_route": "back to school in January",
    "outcomes": [{"outcome": "attends", "baseline": "62 %", "measure": "attendance", "target": "90 %",
                  "target_date": "2026-12-11"}],
    "commissioner_lead": officer, "provider_lead": head,
}
print("plan lacks:", *la.call("Placement", "PutPlan", **about, plan=plan).open_items)
blocks = [
    {"meta": {"authors": [officer], "review_by": "2026-12-18"}},
    {"emergency": {"contacts": [{"name": "Robin Kestrel", "role": "parent", "telephone": "01632 960001"}]}},
    {"medical": {"allergies": "none known", "medication": "none"}},
    {"safety": {"risk_summary": "none known"}},
]
passport = la.call("Passport", "PutPassport", **about, blocks=blocks)
la.call("Passport", "SharePassport", **about, etag=passport.etag)

# The provider collects the passport and a named person acts on it; then the placement can start.
mail = provider.call("Delivery", "ListDeliveries", kinds=["DELIVERY_KIND_PASSPORT"]).deliveries
ours = [item.cursor for item in mail if item.placement_id == placement.placement_id]
items = [{"cursor": {"index": cursor.index, "ordinal": cursor.ordinal}} for cursor in ours]
provider.call("Delivery", "AcknowledgeDelivery", deliveries=items, stage="DELIVERY_STAGE_ACTED_ON", officer=head)
la.call("Placement", "StartPlacement", **about, etag=decided.etag, start_date="2026-09-01")

# Attendance: a mark, with the child identified by the provider's own reference.
mark = {"provider_reference": accept["provider_reference"], "date": "2026-11-09", "session": "SESSION_AM", "code": "/"}
sent = provider.call("Returns", "SubmitAttendance", marks=[mark])
print("attendance:", sent.stored, "stored")
try:
    provider.call("Returns", "SubmitAttendance", marks=[{**mark, "date": "2026-02-30"}])
except grpc.RpcError as refused:
    print("refused:", refused.code().name, refused.details())

# Progress, against the outcomes of the plan.
progress = {
    "from_date": "2026-09-01", "to_date": "2026-10-23", "plan_etag": "1", "author": head, "signed_on": "2026-11-02",
    "academic": [{"subject": "English", "current": "reads alone", "trajectory": "TRAJECTORY_ON_TRACK"}],
    "outcomes": [{"rag": "RAG_AMBER", "evidence": "comes four days of five"}],
}
print("progress: revision", provider.call("Returns", "SubmitProgress", **about, progress=progress).revision)

# The auditor lists the exchanges about this placement and their agreements; next_page_token leads to older pages.
for exchange in auditor.call("Audit", "ListExchanges", **about).exchanges:
    print(exchange.index, exchange.organisation, exchange.method.rsplit("/")[-1], [b.agreement_id[:8] for b in exchange.bases])
