"""The documentation: its generated parts are up to date, nothing is left out, and nothing points nowhere."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.settings import Settings
from docs import generate, meanings, reference
from domain.cases import CASE_ROWS
from domain.commands import COMMANDS, parse_command
from domain.deadlines import DeadlineName
from domain.documents import DOCUMENT_REFUSALS, DocumentRefusalCode
from domain.joint import JOINT_REFUSALS, JointRefusalCode
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS, ROWS
from domain.order import Actor, Flag, Status
from domain.payment_state import PaymentStatus
from domain.policy import MarketplacePolicy, PolicyWindows, SellerPolicy
from domain.refusal_codes import RefusalCode
from domain.refusals import REFUSALS
from sandbox import provider

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md") if page.exists())
KNOWN_RULES = {f"{letter}{number}" for letter, (_, last) in meanings.CHAPTERS.items() for number in range(1, last + 1)}
REFUSAL_CODES = (*RefusalCode, *JointRefusalCode, *DocumentRefusalCode)
NAMED_RULES = (
    {row.rule for row in ROWS}
    | {row.rule for row in PAYMENT_ROWS}
    | {row.rule for row in REQUEST_ROWS}
    | {row.rule for row in CASE_ROWS}
    | {text.rule for table in (REFUSALS, JOINT_REFUSALS, DOCUMENT_REFUSALS) for text in table.values()}
)


def page(name: str) -> str:
    """Return the text of one page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def shown(text: str) -> str:
    """Return the text of a page without its comments and its blocks of code."""
    return re.sub(r"```.*?```", "", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL), flags=re.DOTALL)


def anchors(target: Path) -> set[str]:
    """Return the anchors of a page's headings, in the form that repositories give them."""
    headings = re.findall(r"^#+ (.+)$", shown(target.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    """Return every link of the documentation that leads to a place in the project."""
    for each in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", shown(each.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z]+:", link):
                yield each, link


def named_tests() -> Iterator[str]:
    """Return every test file and test function that the documentation names."""
    for each in PAGES:
        yield from re.findall(r"\b(test_\w+(?:\.py)?)", shown(each.read_text(encoding="utf-8")))


@pytest.mark.rule("D4")
def test_generated_parts_are_up_to_date() -> None:
    """Generating every page anew changes nothing, whatever the width of the terminal."""
    names = [str(each.relative_to(ROOT)) for each in PAGES]
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-I", ".", *names],
        cwd=ROOT,
        env={"COLUMNS": "40", "FORCE_COLOR": "1", "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`:\n{done.stdout}{done.stderr}"


@pytest.mark.rule("D4")
def test_every_state_flag_deadline_and_window_has_a_meaning() -> None:
    """The generator explains exactly the names that the code has, no more and no fewer."""
    assert set(meanings.STATES) == set(Status)
    assert set(meanings.FLAGS) == set(Flag)
    assert set(meanings.DUE) == set(DeadlineName)
    assert set(meanings.WINDOWS) == set(PolicyWindows.model_fields)


@pytest.mark.rule("D4")
@pytest.mark.parametrize(
    "name", [*Status, *Flag, *DeadlineName, *PolicyWindows.model_fields, *REFUSAL_CODES, *COMMANDS]
)
def test_lifecycle_page_names_everything(name: str) -> None:
    """Every state, flag, deadline, window, refusal code and command stands on the page of the lifecycle."""
    assert f"`{name}`" in page("lifecycle.md") or f"### {name}\n" in page("lifecycle.md")


@pytest.mark.rule("D4")
def test_no_two_refusals_share_a_code() -> None:
    """Orders, what spans several of them, and documents have tables of their own, each with all of its codes."""
    worded = [code.value for table in (REFUSALS, JOINT_REFUSALS, DOCUMENT_REFUSALS) for code in table]
    assert len(set(worded)) == len(worded) and sorted(worded) == sorted(code.value for code in REFUSAL_CODES)


@pytest.mark.rule("D4")
def test_lifecycle_page_tells_every_transition() -> None:
    """For each row of the table there is a line with its event, actor, condition, target and rules, under its state."""
    sections = dict(
        re.findall(r"^### From (\w+)\n(.*?)(?=^##|\Z)", page("lifecycle.md"), flags=re.MULTILINE | re.DOTALL)
    )
    for row in ROWS:
        told = [line.split(" | ") for line in sections[row.source.value].splitlines() if f"`{row.event}`" in line]
        assert any(
            row.actor in cells[1].split(", ")
            and cells[2].strip() == ("" if row.when == "always" else row.when)
            and cells[3] == f"`{row.target}`"
            and cells[5].removesuffix(" |") == row.rule
            for cells in told
        ), row


@pytest.mark.rule("D4")
def test_diagram_shows_every_change_of_state() -> None:
    """The diagram has one edge for each two states between which a row leads, and no label that Mermaid cannot read."""
    lines = [line.strip() for line in generate.diagram().splitlines()]
    edges = {tuple(line.split(" : ")[0].split(" --> ")) for line in lines if "-->" in line and "[*]" not in line}
    assert lines[:2] == ["```mermaid", "stateDiagram-v2"]
    assert lines[-1] == "```"
    assert edges == {(row.source.value, row.target.value) for row in ROWS if row.source is not row.target}
    assert not [line for line in lines if ";" in line or line.count(":") > 1]


@pytest.mark.parametrize("rules", sorted(NAMED_RULES))
def test_rules_of_the_tables_exist(rules: str) -> None:
    """Every rule that a transition or a refusal names is a rule of the policy."""
    assert rules.split()
    assert set(rules.split()) <= KNOWN_RULES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_rules_of_the_pages_exist(path: Path) -> None:
    """Every rule that a page names is a rule of the policy."""
    assert set(re.findall(r"\b[PGECSARVD]\d+\b", shown(path.read_text(encoding="utf-8")))) <= KNOWN_RULES


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """Each setting of the environment has a meaning and a line."""
    assert set(meanings.SETTINGS) == set(Settings.model_fields)
    assert f"| `{name.upper()}` |" in page("configuration.md")


def test_settings_that_the_code_reads_itself_are_documented() -> None:
    """Each variable that the code takes from the environment by its name is on the page of the configuration."""
    found = {
        name
        for folder in ("activities", "workflows", "starter", "store", "sandbox")
        for source in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", source.read_text(encoding="utf-8"))
    }
    assert found
    assert {name for name in found if f"`{name}`" not in page("configuration.md")} == set()


@pytest.mark.parametrize("name", meanings.TEMPORAL_SETTINGS)
def test_temporal_settings_are_read(name: str, tmp_path: Path) -> None:
    """Each variable that the page lists as Temporal's own changes the connection."""
    from temporalio.envconfig import ClientConfigProfile  # noqa: PLC0415 - for this test only

    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "one:1"\n[profile.other]\naddress = "two:1"\n')
    plain = {} if name == "TEMPORAL_CONFIG_FILE" else {"TEMPORAL_CONFIG_FILE": str(file)}
    value = {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "other"}.get(name, "true")
    before = ClientConfigProfile.load(override_env_vars=plain)
    assert ClientConfigProfile.load(override_env_vars={**plain, name: value}) != before


@pytest.mark.rule("D4")
@pytest.mark.parametrize("form", [MarketplacePolicy, SellerPolicy], ids=lambda form: form.__name__)
def test_every_key_of_the_policy_is_documented(form: type[MarketplacePolicy] | type[SellerPolicy]) -> None:
    """Each key of a marketplace and of a seller has a meaning and a line."""
    assert set(meanings.POLICY_KEYS[form]) == set(form.model_fields)
    assert not [name for name in form.model_fields if f"| `{name}` |" not in page("configuration.md")]


@pytest.mark.rule("D4")
@pytest.mark.parametrize("name", PolicyWindows.model_fields)
def test_every_window_of_the_policy_is_documented(name: str) -> None:
    """Each window stands on the page of the lifecycle and on that of the configuration."""
    assert f"| `{name}` |" in page("lifecycle.md")
    assert f"| `{name}` |" in page("configuration.md")


@pytest.mark.rule("D4")
@pytest.mark.parametrize("names", [Status, Flag, Actor, PaymentStatus, COMMANDS], ids=lambda names: str(names)[:24])
def test_glossary_names_the_vocabulary(names: Sequence[str]) -> None:
    """Every state, flag, actor, payment state and command has a line in the glossary."""
    assert [name for name in names if f"\n- `{name}`: " not in page("glossary.md")] == []


def test_glossary_is_alphabetical_with_one_line_for_each_term() -> None:
    """The terms of the glossary stand in the order of the alphabet, each once."""
    lines = page("glossary.md").splitlines()
    terms = [match[1].casefold() for line in lines if (match := re.match(r"- (?:\*\*|`)(.+?)(?:\*\*|`): \S", line))]
    assert len(terms) == len([line for line in lines if line.startswith("- ")])
    assert terms == sorted(set(terms))


def test_starter_page_names_every_command() -> None:
    """Each command of the starter has its heading, its options and a help text without markup."""
    told = reference.starter()
    for command in ("place", "cancel", "request-cancellation", "travel", "stock set", "demo"):
        assert f"### {command}\n" in told
    assert "[dim]" not in told
    assert "\x1b" not in told


@pytest.mark.parametrize(("path", "link"), list(links()), ids=str)
def test_relative_links_resolve(path: Path, link: str) -> None:
    """A link to a file or a heading of the project leads there."""
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    assert target.exists()
    assert ROOT in (target, *target.parents)
    assert not anchor or anchor in anchors(target)


def test_the_readme_names_every_test_card_of_the_sandbox() -> None:
    """Each card that the provider stands in for with a behaviour of its own can be found where cards are told."""
    told = (ROOT / "README.md").read_text(encoding="utf-8")
    cards = set(re.findall(r"`(card-[a-z-]+)…`", provider.__doc__ or ""))
    assert len(cards) > 5
    assert {card for card in cards if f"`{card}`" not in told} == set()


@pytest.mark.rule("C1")
def test_the_readmes_signal_is_a_command_that_says_when_it_was_asked_for() -> None:
    """The example of a raw signal is read by the engine, and carries the stamp by which a window is judged."""
    (raw,) = re.findall(r"--name cancel \\\n +--input '(.+)'", (ROOT / "README.md").read_text(encoding="utf-8"))
    typed = raw.replace("'$(date -u +%FT%TZ)'", datetime.now(UTC).strftime("%FT%TZ"))
    assert parse_command("cancel", json.loads(typed)).requested_at is not None


def test_named_tests_exist() -> None:
    """A test that the documentation names exists, as a file or as a function."""
    sources = {each.name: each.read_text(encoding="utf-8") for each in (ROOT / "tests").glob("test_*.py")}
    functions = {name for text in sources.values() for name in re.findall(r"def (test_\w+)\(", text)}
    known = functions | set(sources) | {name.removesuffix(".py") for name in sources}
    assert set(named_tests()) <= known
