"""A Nostr client by others (nostr-sdk, of the rust-nostr family), for nostr-client.test.ts.

Subscribes at a relay to one kind and tells what comes, a JSON line each, until its standard input ends:
  {"event": ..., "isVerified": bool}, {"eose": true}, {"ok": id, "isAccepted": bool, "text": ...}, {"other": ...}
On its input, a JSON line each:
  {"publish": {"kind", "content", "tags", "created_at"}} is signed with a new key and sent;
  {"send": ...} is a message that is sent as it is.
"""

import asyncio
import json
import sys

from nostr_sdk import (
    ClientBuilder,
    ClientMessage,
    EventBuilder,
    Filter,
    Keys,
    Kind,
    RelayUrl,
    ReqTarget,
    Tag,
    Timestamp,
    uniffi_set_event_loop,
)


def tell(**line):
    print(json.dumps(line), flush=True)


def tell_message(message):
    if message.is_event_msg():
        event = message.event
        tell(event=json.loads(event.as_json()), isVerified=event.verify_id() and event.verify_signature())
    elif message.is_end_of_stored_events():
        tell(eose=True)
    elif message.is_ok():
        tell(ok=message.event_id.to_hex(), isAccepted=message.status, text=message.message)
    else:
        tell(other=repr(message))


async def tell_all(notifications):
    while (notification := await notifications.next()) is not None:
        if notification.is_message():
            tell_message(notification.message.as_enum())


def message_of(command):
    if "send" in command:
        return ClientMessage.from_json(json.dumps(command["send"]))
    draft = command["publish"]
    builder = EventBuilder(Kind(draft["kind"]), draft["content"]).tags([Tag.parse(tag) for tag in draft["tags"]])
    event = builder.custom_created_at(Timestamp.from_secs(draft["created_at"])).finalize(Keys.generate())
    return ClientMessage.event(event)


async def main(url, kind):
    uniffi_set_event_loop(asyncio.get_running_loop())
    client = ClientBuilder().build()
    telling = asyncio.create_task(tell_all(client.notifications()))
    await client.add_relay(RelayUrl.parse(url), and_connect=True)
    await client.subscribe(ReqTarget.auto([Filter().kind(Kind(kind))]))
    relay = await client.relay(RelayUrl.parse(url))
    while line := await asyncio.to_thread(sys.stdin.readline):
        await relay.send_msg(message_of(json.loads(line)))
    telling.cancel()
    await client.shutdown()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
