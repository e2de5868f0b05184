"""The commands of an order on the command line, one row each; refunds have a reader of their own in `starter/refund_cli.py`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.message import Template, Topic
from domain.order import Actor
from domain.reasons import BuyerReason, ParcelReason, ReturnReason, SellerReason
from starter import carts
from starter.client import InputError
from starter.command_cli import BUYERS, REQUIRED, SELLERS, SYSTEM, Option, Row, duration, instant, units_of

_B, _S, _O, _M = Actor.BUYER, Actor.SELLER, Actor.OPERATOR, Actor.SYSTEM


def _text(field: str, told: str, *, flag: str | None = None, default: Any = None) -> Option:
    kind = str if default is not None else str | None
    return Option(field, Annotated[kind, typer.Option(flag or f"--{field.replace('_', '-')}", help=told)], default)


def _items(told: str, *, required: bool = False) -> Option:
    kind = list[str] if required else list[str] | None
    return Option("lines", Annotated[kind, typer.Option("--item", help=told)], REQUIRED if required else None, units_of)


def _reason(kind: Any, told: str, default: Any) -> Option:
    return Option("reason", Annotated[kind, typer.Option("--reason", help=told)], default)


def _minutes(text: str) -> int:
    minutes, rest = divmod(duration(text), timedelta(minutes=1))
    if rest:
        raise InputError(f"duration: {text}; give whole minutes, like 10m or 2h")
    return minutes


def _address(path: Path) -> Any:
    return carts.read_json(path, "address")


_CASE = _text("case_id", "Which case, like K1; it may be left out where only one fits.", flag="--case")
_NOTE_SELLER = _text("note", "A line to the seller.")
_NOTE_BUYER = _text("note", "A line to the buyer.")
_NOTE = _text("note", "A line to the other side.")
_SHIPPED = "SKU:QUANTITY of what is meant; everything shipped without it."
_BY = Annotated[str, typer.Argument(metavar="DURATION", help="Like 10m or 2h.")]
_UNTIL = Annotated[str, typer.Option("--until", help="Until when: an instant, or a duration from now like 5d.")]

ROWS: tuple[Row, ...] = (
    # The buyer, before shipment.
    Row(
        "edit",
        BUYERS,
        "Change quantities, address or shipping option within the edit window.",
        "E1",
        (_B,),
        (
            _items("SKU:QUANTITY, 0 to drop the item."),
            Option(
                "shipping_address",
                Annotated[Path | None, typer.Option("--address", help="JSON file with the new shipping address.")],
                read=_address,
            ),
            _text("shipping_option", "New shipping option.", flag="--shipping"),
        ),
    ),
    Row(
        "cancel",
        BUYERS,
        "Cancel: as the buyer within the cancel window, as the seller until shipment with a reason.",
        "C1 C5",
        (_B, _S),
        (_text("reason", f"A seller's reason: {', '.join(SellerReason)}."), _NOTE),
    ),
    Row(
        "request_cancellation",
        BUYERS,
        "Ask the seller to cancel, after the cancel window or after shipment.",
        "C3 A1",
        (_B,),
        (
            _reason(BuyerReason, "Why.", BuyerReason.OTHER),
            _items("SKU:QUANTITY, after shipment; everything shipped without it."),
            _NOTE_SELLER,
        ),
    ),
    Row(
        "pay_again",
        BUYERS,
        "Give another card after a decline.",
        "G3",
        (_B,),
        (
            _text("card", "Token of the new card.", default="card-approve"),
            Option(
                "points_minor",
                Annotated[int | None, typer.Option("--points", min=0, help="Points to use besides, in minor units.")],
            ),
        ),
    ),
    # The buyer, after shipment.
    Row(
        "request_return",
        BUYERS,
        "Ask to send items back.",
        "A3",
        (_B,),
        (_reason(ReturnReason, "Why.", ReturnReason.NO_LONGER_WANTED), _items(_SHIPPED), _NOTE_SELLER),
    ),
    Row(
        "report_not_received",
        BUYERS,
        "Report a parcel that has not arrived.",
        "A6",
        (_B,),
        (_items(_SHIPPED), _NOTE_SELLER),
    ),
    Row(
        "open_claim",
        BUYERS,
        "Claim the marketplace's guarantee for a parcel that has not arrived.",
        "A6",
        (_B,),
        (_CASE, _text("note", "A line to the marketplace.")),
    ),
    Row(
        "rate",
        BUYERS,
        "Rate the seller, once per order.",
        "A8",
        (_B,),
        (
            Option("stars", Annotated[int, typer.Option("--stars", min=1, max=5, help="1 to 5 stars.")], REQUIRED),
            _text("comment", "A comment."),
        ),
    ),
    Row(
        "send_message",
        BUYERS,
        "Write to the other side: a text, or as the seller the marketplace's ready template.",
        "V6 C6 C12",
        (_B, _S),
        (
            Option("text", Annotated[str | None, typer.Argument(metavar="TEXT", help="What to say.")]),
            Option(
                "template",
                Annotated[Template | None, typer.Option("--template", help="A ready message instead of a text.")],
            ),
            Option("topic", Annotated[Topic, typer.Option("--topic", help="What it is about.")], Topic.GENERAL),
            Option(
                "answer_by",
                Annotated[
                    str | None,
                    typer.Option(
                        "--answer-by",
                        help="As the seller: silence until then cancels the order; an instant, or a duration like 3d.",
                    ),
                ],
                read=instant("answer-by"),
            ),
        ),
    ),
    # The seller, before shipment.
    Row("accept_cancellation", SELLERS, "Accept the buyer's cancellation request.", "C4", (_S,)),
    Row(
        "decline_cancellation",
        SELLERS,
        "Decline the buyer's cancellation request.",
        "C4 A1",
        (_S,),
        (_CASE, _NOTE_BUYER),
    ),
    Row(
        "cancel_items",
        SELLERS,
        "Cancel some items before shipment; what remains goes on.",
        "C11",
        (_S, _B),
        (
            _items("SKU:QUANTITY to cancel.", required=True),
            _reason(
                SellerReason | None,
                f"Why; without it {SellerReason.NO_INVENTORY} of a seller, {SellerReason.BUYER_CANCELLED} of a buyer.",
                None,
            ),
            _text("consent", "When and how the buyer agreed; a seller must say it."),
        ),
    ),
    Row(
        "ship",
        SELLERS,
        "Confirm a shipment; the first one charges the buyer. The operator ships marketplace-fulfilled orders.",
        "S1 S2",
        (_S, _O),
        (
            _text("carrier", "Who carries the parcel.", default="Yamato"),
            _text("tracking_number", "Tracking number.", flag="--tracking", default="TRACK-1"),
            _items("SKU:QUANTITY; everything that is left without it."),
        ),
    ),
    # The seller, after shipment.
    Row(
        "retry_refund",
        SELLERS,
        "Ask once more for a refund that failed at the payment provider.",
        "R6",
        (_S, _O),
        (
            Option(
                "refund_id", Annotated[str, typer.Argument(metavar="REFUND", help="Which refund, like R1.")], REQUIRED
            ),
        ),
    ),
    Row(
        "open_cancellation",
        SELLERS,
        "Open the cancellation that the buyer asked for after shipment; the marketplace reviews it.",
        "A1",
        (_S,),
        (_CASE, _NOTE_BUYER),
    ),
    Row("authorize_return", SELLERS, "Authorise a return.", "A3", (_S, _O), (_CASE, _NOTE_BUYER)),
    Row("decline_return", SELLERS, "Decline a return.", "A3", (_S,), (_CASE, _NOTE_BUYER)),
    Row(
        "receive_return",
        SELLERS,
        "Say that a return has arrived; refund it next.",
        "A3",
        (_S, _O),
        (_CASE, _NOTE_BUYER),
    ),
    Row(
        "return_to_sender",
        SELLERS,
        "Say that a parcel came back: it is refunded less the shipping fee.",
        "A4",
        (_S, _O, _M),
        (_reason(ParcelReason, "Why it came back.", REQUIRED), _items(_SHIPPED), _NOTE_BUYER),
    ),
    Row(
        "recall_parcel",
        SELLERS,
        "Ask the carrier to bring a parcel back.",
        "A5",
        (_S, _O),
        (_items(_SHIPPED), _NOTE_BUYER),
    ),
    Row(
        "receive_parcel",
        SELLERS,
        "Say that a recalled parcel is back: it is refunded less the return fee.",
        "A5",
        (_S, _O),
        (_CASE, _NOTE_BUYER),
    ),
    Row("send_trace", SELLERS, "Answer a missing parcel with the carrier's trace.", "A6", (_S,), (_CASE, _NOTE_BUYER)),
    Row(
        "ask_to_wait",
        SELLERS,
        "Ask the buyer of a missing parcel to wait.",
        "A6",
        (_S,),
        (Option("until", _UNTIL, REQUIRED, instant("until")), _CASE, _NOTE_BUYER),
    ),
    # The marketplace and the carrier.
    Row(
        "deliver",
        SYSTEM,
        "Say that the carrier has delivered.",
        "A7 A9",
        (_M, _O),
        (_text("shipment_id", "One parcel, like P1; all of them without it.", flag="--parcel"),),
    ),
    Row(
        "extend_edit",
        SYSTEM,
        "Extend the edit window of one running order.",
        "E6",
        (_O,),
        (Option("minutes", _BY, REQUIRED, _minutes),),
    ),
    Row(
        "hold_for_review",
        SYSTEM,
        "Hold the details of a pending order for review.",
        "G4",
        (_O,),
        (Option("reason", Annotated[str, typer.Option("--reason", help="Why, in a line of your own.")], REQUIRED),),
    ),
    Row("release_review", SYSTEM, "End the review of an order: it goes on.", "G4", (_O,)),
    Row("refuse_review", SYSTEM, "Refuse an order after its review: it is cancelled.", "G4", (_O,), (_NOTE_BUYER,)),
    Row(
        "approve_cancellation",
        SYSTEM,
        "Approve a cancellation after shipment; the seller is to refund it.",
        "A1",
        (_O,),
        (_CASE, _NOTE),
    ),
    Row("deny_cancellation", SYSTEM, "Deny a cancellation after shipment.", "A1", (_O,), (_CASE, _NOTE)),
    Row(
        "grant_claim",
        SYSTEM,
        "Grant a guarantee claim: it is refunded, charged to the seller.",
        "A6",
        (_O,),
        (_CASE, _NOTE),
    ),
    Row("deny_claim", SYSTEM, "Deny a guarantee claim.", "A6", (_O,), (_CASE, _NOTE)),
)
"""Every command that is sent by a row of its own, in the order of the help."""
