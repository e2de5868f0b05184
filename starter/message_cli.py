"""The messages of an order on the command line; they are sent by `send-message` of the table."""

from domain.order import Actor
from starter import output
from starter.command_cli import AsJson, Number, View, Viewer
from starter.exits import console, run
from starter.session import open_client


def messages(
    number: Number,
    as_: View = Viewer.OPERATOR,
    as_json: AsJson = False,
) -> None:
    """List the messages between buyer and seller, and the ready replies that the seller is offered. [dim]V6 C6[/]"""

    async def work() -> None:
        order = await (await open_client()).order(number, Actor(as_))
        offered = [each.value for each in order.offered_replies]
        if as_json:
            output.print_json(
                console, {"messages": order.messages, "offered_replies": offered, "answer_by": order.answer_by}
            )
            return
        console.print(output.messages(order) if order.messages else "no messages")
        for each in offered:
            console.print(
                f"offered to the seller: `starter send-message {number} --as seller --template {each}`", soft_wrap=True
            )

    run(work)
