"""The policy file: it loads, says what is wrong with it, may be overridden, and never moves a running order's deadline."""

from datetime import timedelta

import pytest
from domain_kit import DAY, MINUTE, POLICY_FILE, Scene, cart, policy
from hypothesis import given
from hypothesis import strategies as st

from domain.base import format_duration, parse_duration
from domain.deadlines import deadlines
from domain.policy import PolicyError, PolicySnapshot, PolicyWindows, Windows, load_policy
from domain.refund import PaymentMethod

TEXT = POLICY_FILE.read_text(encoding="utf-8")


def refused(old: str, new: str) -> str:
    """Return the message with which the project's policy is refused once `old` is replaced."""
    with pytest.raises(PolicyError) as caught:
        policy((old, new))
    return str(caught.value)


def test_the_projects_policy_loads() -> None:
    """The policy that the project ships is read, with its marketplaces and sellers."""
    loaded = policy()
    assert set(loaded.marketplaces) == {"JP", "IT", "US"}
    assert set(loaded.sellers) == {"S-100", "S-200", "S-300"}


def test_the_defaults_are_those_of_the_window_table() -> None:
    """A policy without windows has the defaults of the window table."""
    windows = Windows()
    assert (windows.edit_window, windows.cancel_window) == (5 * MINUTE, 30 * MINUTE)
    assert (windows.processing_window, windows.confirm_window) == (21 * DAY, 7 * DAY)
    assert (windows.delivery_window, windows.return_window) == (21 * DAY, 30 * DAY)
    assert (windows.store_payment_window, windows.transit_window) == (3 * DAY, 30 * DAY)
    assert (windows.refund_window, windows.shortest_answer_window) == (5 * DAY, DAY)
    named = PolicyWindows()
    assert (named.settlement_window, named.retention_window) == (14 * DAY, 30 * DAY)


@pytest.mark.rule("S7", "A7")
def test_an_order_placed_before_settlement_and_retention_were_known_never_gains_them() -> None:
    """A snapshot without the two windows, as older orders carry it, has neither, and such an order waits for neither."""
    snapshot = policy().snapshot("JP", "S-100").model_dump(mode="json")
    older = PolicySnapshot.model_validate(
        {name: value for name, value in snapshot.items() if name not in ("settlement_window", "retention_window")}
    )
    assert (older.settlement_window, older.retention_window) == (None, None)
    scene = Scene()
    scene.order = scene.order.with_(policy=older)
    scene.settle().send("cancel")
    assert (deadlines(scene.order), scene.order.over) == ((), True)


EDIT = 'edit_window = "5m"'
METHODS = 'payment_methods = ["card", "konbini", "points"]'
BAD: list[tuple[str, str, tuple[str, ...]]] = [
    (EDIT, 'edit_window = "0s"', ("edit_window", "'0s'", "seconds=1")),
    (EDIT, 'edit_window = "-5m"', ("edit_window", "'-5m'", "not a duration")),
    (EDIT, 'edit_window = ""', ("edit_window", "not a duration")),
    (EDIT, 'edit_window = "5 minutes"', ("edit_window", "'5 minutes'", "for example")),
    (EDIT, 'edit_window = "2d"', ("edit_window", "'2d'", "days=1")),
    (EDIT, 'edit_window = "31m"', ("edit_window", "31m", "cancel_window", "30m")),
    (EDIT, "edit_window = -1", ("edit_window", "'-1'", "not a duration")),
    (EDIT, 'edit_windw = "5m"', ("edit_windw", "known are", "edit_window")),
    ('cancel_window = "30m"', 'cancel_window = "8d"', ("cancel_window", "'8d'", "days=7")),
    ('processing_window = "21d"', 'processing_window = "366d"', ("processing_window", "'366d'", "days=365")),
    ('confirm_window = "7d"', 'confirm_window = "0s"', ("confirm_window", "'0s'")),
    ('delivery_window = "21d"', 'delivery_window = "0d"', ("delivery_window", "'0d'")),
    ('return_window = "30d"', 'return_window = "999999d"', ("return_window", "'999999d'")),
    ('store_payment_window = "3d"', 'store_payment_window = "0s"', ("store_payment_window", "'0s'")),
    ('settlement_window = "14d"', 'settlement_window = "366d"', ("settlement_window", "'366d'", "days=365")),
    ('transit_window = "30d"', 'transit_window = "-1d"', ("transit_window", "'-1d'", "not a duration")),
    ('refund_window = "5d"', "refund_window = 5", ("refund_window", "'5'", "not a duration")),
    ('shortest_answer_window = "1d"', 'shortest_answer_window = "1y"', ("shortest_answer_window", "'1y'")),
    ('retention_window = "30d"', 'retention_window = "0s"', ("retention_window", "'0s'", "seconds=1")),
    (METHODS, "payment_methods = []", ("marketplaces.JP.payment_methods", "at least 1")),
    (METHODS, 'payment_methods = ["cash"]', ("marketplaces.JP.payment_methods", "'cash'", "konbini")),
    ("return_fee_minor = 700", "return_fee_minor = -1", ("marketplaces.JP.return_fee_minor", "'-1'", "0")),
    ("return_fee_minor = 700", "return_fee_minor = 7.5", ("marketplaces.JP.return_fee_minor", "'7.5'")),
    ("review_above_minor = 300000", 'review_above_minor = "much"', ("marketplaces.JP.review_above_minor", "'much'")),
    ("edit_extension_limit = ", "edit_extension = ", ("edit_extension", "unknown")),
    ('timezone = "Asia/Tokyo"', 'timezone = "Asia/Tokio"', ("marketplaces.JP", "Asia/Tokio", "IANA")),
    ('currency = "JPY"', 'currency = "yen"', ("marketplaces.JP.currency", "'yen'")),
    ("standard = 500", "standard = -1", ("marketplaces.JP.shipping_options.standard", "'-1'", "0")),
    ("standard = 500", "standard = 5.5", ("marketplaces.JP.shipping_options.standard", "'5.5'")),
    ("shipping_options = { standard = 500, express = 1200 }", "shipping_options = {}", ("JP.shipping_options",)),
    ('handling_time = "2d"', 'handling_time = "0s"', ("sellers.S-100.handling_time", "'0s'")),
    ('handling_time = "2d"', 'handling_tim = "2d"', ("sellers.S-100.handling_tim", "'2d'")),
    ('language = "ja"', 'language = "fr"', ("sellers.S-100.language", "'fr'", "ja|zh|en|it")),
    ("notify_sold = false", 'notify_sold = "maybe"', ("sellers.S-300.notify_sold", "'maybe'")),
    ("auto_approval_minutes = 120", "auto_approval_minutes = 0", ("sellers.S-200.auto_approval_minutes", "'0'", "1")),
    ("auto_approval_minutes = 120", "auto_approval_minutes = 1.5", ("sellers.S-200.auto_approval_minutes", "'1.5'")),
    ("auto_approval_minutes = 120", "auto_approval_minutes = 99999", ("auto_approval_minutes", "'99999'", "10080")),
    ('email = "casa-bella@sellers.example"', 'email = "casa"', ("sellers.S-200.email", "'casa'")),
    ('name = "Kitchen Works"', 'name = "Kitchen\\nWorks"', ("sellers.S-100.name", "U+000A")),
    ("[windows]", "[window]", ("window",)),
    ("[windows]", "[windows", ("not TOML", "line")),
    ("[marketplaces.JP]", "[sellers.S-100]", ("not TOML",)),
]


@pytest.mark.parametrize(("old", "new", "told"), BAD, ids=[new for _, new, _ in BAD])
def test_a_bad_value_is_refused_by_name(old: str, new: str, told: tuple[str, ...]) -> None:
    """An engineer's policy with a bad value is refused on load, naming the key, the value and the bound."""
    message = refused(old, new)
    for part in told:
        assert part in message


@pytest.mark.parametrize("text", ["", "marketplaces = {}", "windows = 3"])
def test_a_policy_without_a_marketplace_is_refused(text: str) -> None:
    """A policy that names no marketplace is refused, for nothing could be placed."""
    with pytest.raises(PolicyError, match="marketplaces"):
        load_policy(text)


@pytest.mark.rule("C2")
@pytest.mark.parametrize(("minutes", "accepted"), [(29, False), (30, False), (31, True), (120, True)])
def test_an_auto_approval_must_outlast_the_cancel_window(minutes: int, accepted: bool) -> None:
    """A seller's auto-approval window is taken only if it is longer than the cancel window."""
    change = ("auto_approval_minutes = 120", f"auto_approval_minutes = {minutes}")
    if accepted:
        snapshot = policy(change).snapshot("IT", "S-200")
        assert snapshot.buyer_cancel_window == minutes * MINUTE
    else:
        message = refused(*change)
        assert all(part in message for part in ("S-200.auto_approval_minutes", str(minutes), "30m", "C2"))


@pytest.mark.rule("C2")
def test_an_auto_approval_must_outlast_every_marketplaces_window() -> None:
    """A marketplace that lengthens its own cancel window beyond a seller's auto-approval is refused, by name."""
    message = refused('timezone = "Europe/Rome"', 'timezone = "Europe/Rome"\nwindows = { cancel_window = "3h" }')
    assert all(part in message for part in ("S-200", "IT", "3h", "120"))


def test_a_marketplace_overrides_windows_for_itself_alone() -> None:
    """A marketplace's own windows hold for its orders and for no other marketplace's."""
    loaded = policy(
        (
            'timezone = "Europe/Rome"',
            'timezone = "Europe/Rome"\nwindows = { edit_window = "10m", confirm_window = "3d" }',
        )
    )
    italy, japan = loaded.snapshot("IT", "S-100"), loaded.snapshot("JP", "S-100")
    assert (italy.edit_window, italy.confirm_window, italy.cancel_window) == (10 * MINUTE, 3 * DAY, 30 * MINUTE)
    assert (japan.edit_window, japan.confirm_window) == (5 * MINUTE, 7 * DAY)


def test_a_bad_override_is_refused_with_its_marketplace() -> None:
    """A marketplace's override that breaks a bound is refused, naming the marketplace, the key and the value."""
    message = refused('timezone = "Europe/Rome"', 'timezone = "Europe/Rome"\nwindows = { edit_window = "1h" }')
    assert all(part in message for part in ("marketplaces.IT.windows", "edit_window", "1h", "30m"))


@pytest.mark.rule("P5", "A5", "G4")
def test_a_marketplaces_methods_fees_and_limits_are_in_its_snapshots() -> None:
    """An order knows which payments its marketplace takes, what a recall costs and above what total it is reviewed."""
    japan, italy = (policy().snapshot(code, "S-100") for code in ("JP", "IT"))
    assert japan.payment_methods == tuple(PaymentMethod)
    assert (japan.return_fee_minor, japan.review_above_minor) == (700, 300000)
    assert italy.payment_methods == (PaymentMethod.CARD, PaymentMethod.POINTS)
    assert (italy.return_fee_minor, italy.review_above_minor) == (0, None)


@pytest.mark.parametrize(("marketplace", "seller"), [("FR", "S-100"), ("JP", "S-999")])
def test_an_unknown_marketplace_or_seller_has_no_policy(marketplace: str, seller: str) -> None:
    """An order on an unknown marketplace or of an unknown seller is refused with the ones that are known."""
    with pytest.raises(PolicyError, match=r"unknown; use one of: (JP, IT, US|S-100, S-200, S-300)"):
        policy().snapshot(marketplace, seller)


def test_a_changed_policy_moves_no_running_deadline() -> None:
    """An order placed before the policy changed keeps its deadlines; one placed after has the new ones."""
    old = Scene()
    before = deadlines(old.order)
    changed = policy((EDIT, 'edit_window = "9m"'), ('processing_window = "21d"', 'processing_window = "5d"'))
    new = Scene(given=changed)
    assert deadlines(old.order) == before
    assert deadlines(new.order) != before
    assert new.order.edit_until - new.order.placed_at == 9 * MINUTE


@pytest.mark.parametrize("seller", ["S-100", "S-200", "S-300"])
@pytest.mark.parametrize("marketplace", ["JP", "IT", "US"])
def test_a_snapshot_survives_the_wire(marketplace: str, seller: str) -> None:
    """The policy fixed in an order is the same after it travelled as JSON."""
    snapshot = policy().snapshot(marketplace, seller)
    assert PolicySnapshot.model_validate_json(snapshot.model_dump_json()) == snapshot


def test_a_snapshot_from_an_older_engine_stays_readable() -> None:
    """An order's policy with a field that this engine does not know is still read."""
    snapshot = policy().snapshot("JP", "S-100").model_dump(mode="json")
    assert PolicySnapshot.model_validate({**snapshot, "later_window": "P1D"}).currency == "JPY"


@pytest.mark.rule("G5")
def test_a_sellers_notification_preference_is_in_its_snapshot() -> None:
    """A seller that wants no "sold" mail says so in the policy, and its orders know."""
    assert Scene(cart(seller_id="S-300")).order.policy.seller.notify_sold is False
    assert Scene().order.policy.seller.notify_sold is True


@given(st.integers(min_value=0, max_value=365 * 86400))
def test_a_duration_written_is_read_again(seconds: int) -> None:
    """Every whole number of seconds is written in a form that reads back as the same duration."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """Whatever text stands for a duration, it is read as one that is not negative, or refused with an example."""
    try:
        assert parse_duration(text) >= timedelta()
    except ValueError as error:
        assert "for example" in str(error)
