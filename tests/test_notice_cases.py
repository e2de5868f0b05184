"""What the notices tell of messages between the two sides, and of what is open after the shipment."""

import re
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from notice_samples import (
    CASE_STATES,
    NUMBER,
    T0,
    mail,
    make_case,
    make_message,
    make_notice,
    make_view,
    parts_of,
    words_of,
)

from activities.rendering import TONGUES, render
from domain.case import Case
from domain.message import Template, alias
from domain.views import OrderView


def message_mail(recipient: str, order: OrderView, sender: str = "Shop <orders@marketplace.example>") -> EmailMessage:
    """Return the mail of the sample message to `recipient`."""
    return render(make_notice("message", recipient), order, sender)


@pytest.mark.rule("V6")
@pytest.mark.parametrize(
    ("recipient", "other", "name"), [("buyer", "seller", "桃花堂"), ("seller", "buyer", "山田太郎")]
)
def test_a_message_comes_from_the_other_sides_alias(recipient: str, other: str, name: str) -> None:
    """The mail is from the other side by name, behind its alias; the real address is nowhere in the mail."""
    message = message_mail(recipient, make_view())
    for header in ("From", "Reply-To"):
        [address] = message[header].addresses
        assert address.addr_spec == alias(NUMBER, other)
        assert address.display_name == f"{name} via Shop"
    hidden = "seller@shop.example" if other == "seller" else "buyer@mail.example"
    assert hidden not in "".join((*map(str, message.values()), *parts_of(message)))
    assert f"Message from {name} about order {NUMBER}" == message["Subject"]
    # An answer from a machine is wanted as little as one to a machine, but a person wrote this.
    assert message["Auto-Submitted"] is None


@pytest.mark.rule("V6", "D1")
@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("ja", "桃花堂（Shop 経由）"),
        ("zh", "桃花堂（通过 Shop）"),
        ("en", "桃花堂 via Shop"),
        ("it", "桃花堂 tramite Shop"),
    ],
)
def test_the_sender_of_a_message_is_named_in_the_readers_language(language: str, shown: str) -> None:
    """The name in From follows the recipient's language."""
    assert message_mail("buyer", make_view(language))["From"].addresses[0].display_name == shown


@pytest.mark.rule("V6")
def test_a_sender_without_a_name_is_named_by_its_address() -> None:
    """A marketplace that is configured as a bare address stands with it in the name."""
    message = message_mail("buyer", make_view(), "orders@marketplace.example")
    assert message["From"].addresses[0].display_name == "桃花堂 via orders@marketplace.example"


@pytest.mark.rule("G1", "V6")
@pytest.mark.parametrize("language", TONGUES)
def test_a_message_about_a_pending_order_does_not_name_the_buyer(language: str) -> None:
    """Before the verification the seller does not learn from whom a message is."""
    message = message_mail("seller", make_view(language, verified_at=None))
    assert "山田" not in "".join((*map(str, message.values()), *parts_of(message)))
    assert message["From"].addresses[0].addr_spec == alias(NUMBER, "buyer")


@pytest.mark.rule("V6", "C12", "D1")
@pytest.mark.parametrize("recipient", ["buyer", "seller"])
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("ja", "このメールにそのままご返信いただけます。"),
        ("zh", "直接回复本邮件即可。"),
        ("en", "To answer, simply reply to this mail."),
        ("it", "Per rispondere è sufficiente rispondere a questa e-mail."),
    ],
)
def test_a_message_says_that_it_can_be_answered_by_mail(language: str, said: str, recipient: str) -> None:
    """Either side is told so in its own language, in both forms of the mail, with the limit of an answer."""
    _, text, html = parts_of(message_mail(recipient, make_view(language)))
    for form in (text, words_of(html)):
        assert said in form
        assert "1000" in form


@pytest.mark.rule("V6")
def test_a_message_is_quoted_line_by_line() -> None:
    """The text is quoted as it was written, in both forms, with its lines and without becoming markup."""
    order = make_view(messages=(make_message("buyer", text="1 < 2 & 3\n\n-- \n<b>x</b>"),))
    _, text, html = parts_of(message_mail("seller", order))
    assert "> 1 < 2 & 3\n> \n> -- \n> <b>x</b>\n" in text
    assert "1 < 2 & 3\n\n-- \n<b>x</b>" in words_of(html).replace("\r\n", "\n")
    assert "<b>" not in html


@pytest.mark.rule("C12")
@pytest.mark.parametrize("language", TONGUES)
def test_a_message_that_waits_for_an_answer_says_until_when(language: str) -> None:
    """The buyer is told by when to answer, and that the order is cancelled otherwise; other messages say nothing of it."""
    asking = make_message("seller", answer_by=T0 + timedelta(days=2))
    text = mail("message", "buyer", make_view(language, messages=(asking,)))[1]
    date = {
        "ja": "2026年3月3日(火) 12:30",
        "zh": "2026年3月3日 11:30",
        "en": "March 2, 2026, 10:30 PM",
        "it": "3 marzo 2026",
    }
    assert date[language] in text
    if language == "en":
        assert "Without your answer by then, the order is cancelled." in text
    assert date[language] not in mail("message", "buyer", make_view(language))[1]


@pytest.mark.rule("C6")
def test_the_ready_reply_shows_the_official_way() -> None:
    """The template tells the buyer that a message cancels nothing, and how to ask for it officially."""
    ready = make_message("seller", text=None, template=Template.HOW_TO_CANCEL)
    text = mail("message", "buyer", make_view(messages=(ready,)))[1]
    assert "A message alone does not cancel it." in text
    assert "choose to request its cancellation and give the reason" in text
    assert "may still be shipped" in text
    assert "\n>" not in text


def case_text(case: Case, recipient: str = "buyer", **changes: Any) -> str:
    """Return the text of the mail on `case`."""
    return mail("case_changed", recipient, make_view(cases=(case,), **changes))[1]


def meaning(case: Case, recipient: str, language: str = "en") -> str:
    """Return the first paragraph of the mail on `case`."""
    return mail("case_changed", recipient, make_view(language, cases=(case,)))[1].split("\n\n")[1]


@pytest.mark.rule("A1", "A3", "A5", "A6", "D1")
@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize(("kind", "status"), CASE_STATES)
def test_every_state_of_a_case_is_explained_to_each_side(kind: str, status: str, language: str) -> None:
    """Each state is worded in subject and text, for its kind and for its reader; no two states of a kind read alike."""
    for recipient in ("buyer", "seller"):
        mine = meaning(make_case(kind, status), recipient, language)
        others = {meaning(make_case(kind, other), recipient, language) for of, other in CASE_STATES if of == kind}
        assert len(mine) > 5
        assert len(others) == sum(1 for of, _ in CASE_STATES if of == kind)
        subject = mail("case_changed", recipient, make_view(language, cases=(make_case(kind, status),)))[0]
        assert not re.search(rf"_|\b{status}\b", subject) or language == "en"


@pytest.mark.rule("A1")
def test_an_approved_cancellation_tells_each_side_its_part() -> None:
    """The seller is asked to refund, the buyer told that it will be."""
    case = make_case("cancellation", "approved", due_at=None)
    assert "told the seller 桃花堂 to refund you" in case_text(case)
    assert "Please refund the buyer now." in case_text(case, "seller")


@pytest.mark.rule("A3")
def test_an_authorised_return_says_until_when_and_what_follows() -> None:
    """The buyer sends the items back by the date; then comes the refund, or the cancellation of what was never confirmed."""
    case = make_case("return", "authorized")
    text = case_text(case)
    assert "so that they reach the seller by March 9, 2026, 11:30 PM" in text
    assert "You are refunded when they have come back." in text
    assert "Items concerned\n  1 × 赤い茶碗\n" in text
    unconfirmed = case_text(case, shipments=())
    assert "The order is cancelled when they have come back." in unconfirmed
    assert "refunded" not in unconfirmed


@pytest.mark.rule("A5")
def test_a_recalled_parcel_names_the_fee() -> None:
    """The buyer is told that the refund waits for the parcel and is less the return fee."""
    assert "you are refunded less any return fee" in case_text(make_case("parcel", "recalled"))


@pytest.mark.rule("A6")
def test_a_missing_parcel_is_waited_for_until_a_date() -> None:
    """The buyer is asked to wait until the date, and told when it is over that a claim may be opened."""
    waiting = case_text(make_case("not_received", "waiting", reason="not_received"))
    assert "asks you to wait for the parcel until March 9, 2026, 11:30 PM" in waiting
    assert "you may open a guarantee claim" in waiting
    assert "Reason:" not in waiting
    over = make_case("not_received", "reported", due_at=None, changed_at=T0 + timedelta(days=3))
    assert "The time for which you were asked to wait is over." in case_text(over)


@pytest.mark.rule("A6")
@pytest.mark.parametrize(
    ("refund_id", "said"), [("R1", "The refund has been started"), (None, "Nothing is left to refund")]
)
def test_a_granted_claim_says_whether_there_is_a_refund(refund_id: str | None, said: str) -> None:
    """A granted claim promises a refund only where one has been started; the seller is told who pays for it."""
    case = make_case("not_received", "granted", due_at=None, refund_id=refund_id)
    assert said in case_text(case)
    assert "Its refund is charged to you." in case_text(case, "seller")
