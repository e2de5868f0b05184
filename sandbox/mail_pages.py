"""The HTTP side of the sandbox's mail sink: its pages, what programs ask of it, and the switching of faults."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import DictLoader, Environment

from sandbox.mail_box import read_bodies
from sandbox.mail_smtp import Fault, Receiver

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGES = Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=DictLoader(
        {
            "page": """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:15px/1.5 sans-serif;margin:24px auto;max-width:900px;padding:0 12px}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid #ddd;vertical-align:top}
pre{white-space:pre-wrap;background:#f5f5f3;padding:12px}iframe{width:100%;height:640px;border:1px solid #ccc}</style>
{% block main %}{% endblock %}</html>""",
            "list": """{% extends "page" %}{% block main %}<h1>{{ title }}</h1>
{% if mails %}<table><tr><th>Received<th>To<th>Subject</tr>
{% for mail in mails %}
<tr><td>{{ mail.received_at[:19] }}<td>{{ mail.to }}<td><a href="/mails/{{ mail.name }}">{{ mail.subject }}</a>
{% if mail.deliveries > 1 %}({{ mail.deliveries }} deliveries){% endif %}</tr>
{% endfor %}</table>{% else %}<p>No mail yet.</p>{% endif %}{% endblock %}""",
            "mail": """{% extends "page" %}{% block main %}<p><a href="/">All mails</a></p><h1>{{ mail.subject }}</h1>
<table><tr><th>To<td>{{ mail.to }}</tr><tr><th>Date<td>{{ mail.date }}</tr><tr><th>Message-ID<td>{{ mail.message_id }}</tr>
<tr><th>Deliveries<td>{{ mail.deliveries }}</tr></table><h2>Text</h2><pre>{{ text }}</pre>
{% if html %}<h2>HTML</h2><iframe sandbox title="HTML part" srcdoc="{{ html }}"></iframe>{% endif %}{% endblock %}""",
        }
    ),
)

router = APIRouter()


def _receiver(request: Request) -> Receiver:
    found: Receiver = request.app.state.receiver
    return found


def _page(template: str, **facts: Any) -> HTMLResponse:
    return HTMLResponse(_PAGES.get_template(template).render(facts), headers=SECURITY)


@router.get("/")
def list_page(request: Request) -> HTMLResponse:
    """Show the newest mails."""
    mails = _receiver(request).mailbox.find()
    return _page("list", title="Mail sink", mails=mails[:-501:-1])


@router.get("/mails/{name}")
def mail_page(request: Request, name: str) -> HTMLResponse:
    """Show one mail; its HTML runs nothing and loads nothing."""
    mailbox = _receiver(request).mailbox
    mail = mailbox.named(name)
    if mail is None:
        raise HTTPException(404, f"there is no mail {name}")
    return _page("mail", title=mail.subject, mail=mail, **read_bodies(mailbox.raw(mail)))


@router.get("/api/mails")
def find_mails(
    request: Request,
    to: str = "",
    subject: str = "",
    order: str = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> list[dict[str, Any]]:
    """Return the newest `limit` mails that match, in the order in which they came."""
    mailbox = _receiver(request).mailbox
    return [asdict(mail) | read_bodies(mailbox.raw(mail)) for mail in mailbox.find(to, subject, order)[-limit:]]


@router.get("/health")
def health(request: Request) -> dict[str, Any]:
    """Say that the sink runs, how many mails it holds and which fault is on."""
    receiver = _receiver(request)
    return {"status": "ok", "mails": len(receiver.mailbox), "fault": receiver.fault}


@router.post("/faults", status_code=201)
async def set_fault(request: Request, fault: Fault) -> Fault:
    """Switch a fault on, in place of any other."""
    _receiver(request).fault = fault
    return fault


@router.delete("/faults", status_code=204)
async def clear_fault(request: Request) -> None:
    """Switch the fault off."""
    _receiver(request).fault = None


def create_app(receiver: Receiver) -> FastAPI:
    """Build the HTTP side over what the SMTP side keeps."""
    app = FastAPI(title="Sandbox mail sink", docs_url=None, redoc_url=None)
    app.state.receiver = receiver
    app.include_router(router)
    return app
