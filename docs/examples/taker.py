#!/usr/bin/env python3
"""A small taker, in Python alone: asks a tracker for makers, checks what it says, watches an outpoint.

    taker.py <tracker>.onion:8080 status              who it is, and whether its list can be used
    taker.py <tracker>.onion:8080 makers              its list: digest and values computed again, best bond first
    taker.py <tracker>.onion:8080 why <maker>.onion   why a maker is listed or not
    taker.py <tracker>.onion:8080 watch <txid>:<vout> who spends it, as it happens; ends with Ctrl-C, or with --once

It was written from docs/protocol.md and docs/watching.md, and is tested against the program. Copy what you need.
What it does not do: ask a Bitcoin node whether a bond exists and is unspent. That check stays yours (docs/clients.md).
Exit codes: 0 as asked, 1 the tracker's list is wrong, 2 usage, 69 no answer or an error from the tracker.
"""

import argparse
import hashlib
import math
import os
import socket
import struct
import sys

CONNECT_S = 60  # a fresh circuit to an onion service takes seconds, at its worst a minute
REPLY_S = 60  # from a request to the end of its reply
FRAME_MAX = 16 * 1024 * 1024  # a longer reply is not meant for us
RESTARTS_MAX = 5  # the list is read anew when a block comes in between


class NoAnswer(Exception):
    """Nothing usable came: the circuit was lost, the tracker closed, or it answered with an Error."""


# ---- CBOR: what the protocol needs of RFC 8949 -----------------------------------------------------------------------


def encode(value):
    """Shortest heads, definite lengths, keys in the order given. Ints are unsigned."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    return head(5, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())


def head(major, number):
    for code, size, form in ((24, 1, ">B"), (25, 2, ">H"), (26, 4, ">I"), (27, 8, ">Q")):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + struct.pack(form, number)
    raise ValueError(f"{number} is too large")


def decode(data, at=0):
    """One item of `data` from `at` on: (item, where the next one begins). Trackers write definite lengths only."""
    major, info = data[at] >> 5, data[at] & 31
    if major == 7:
        if info == 27:
            return struct.unpack_from(">d", data, at + 1)[0], at + 9
        if info == 26:
            return struct.unpack_from(">f", data, at + 1)[0], at + 5
        return {20: False, 21: True, 22: None}[info], at + 1
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    number = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else info
    at += 1 + size
    if major == 0:
        return number, at
    if major in (2, 3):
        item = bytes(data[at : at + number])
        return (item if major == 2 else item.decode()), at + number
    if major == 4:
        items = []
        for _ in range(number):
            item, at = decode(data, at)
            items.append(item)
        return items, at
    if major == 5:
        fields = {}
        for _ in range(number):
            key, at = decode(data, at)
            fields[key], at = decode(data, at)
        return fields, at
    raise NoAnswer(f"a CBOR item of major type {major}, which no tracker writes")


# ---- a connection ----------------------------------------------------------------------------------------------------


def dial(address, socks):
    """To an onion service through Tor's SOCKS port, on a circuit of its own; to this machine directly."""
    host, port = address.rsplit(":", 1)
    if host in ("127.0.0.1", "localhost"):
        return socket.create_connection((host, int(port)), CONNECT_S)
    proxy_host, proxy_port = socks.rsplit(":", 1)
    line = socket.create_connection((proxy_host, int(proxy_port)), CONNECT_S)
    # RFC 1928 and 1929. Tor takes any user and password: another user is another circuit (IsolateSOCKSAuth).
    user = os.urandom(8).hex().encode()
    line.sendall(b"\x05\x01\x02")
    if read_exactly(line, 2) != b"\x05\x02":
        raise NoAnswer(f"{socks} is no SOCKS port of Tor")
    line.sendall(b"\x01" + bytes([len(user)]) + user + b"\x01x")
    read_exactly(line, 2)
    # The name goes to Tor as it is: nobody else is asked for it.
    line.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + struct.pack(">H", int(port)))
    code = read_exactly(line, 10)[1]
    if code != 0:
        raise NoAnswer(f"Tor can't reach {address} (SOCKS code {code})")
    return line


def read_exactly(line, count):
    data = b""
    while len(data) < count:
        chunk = line.recv(min(65536, count - len(data)))
        if not chunk:
            raise NoAnswer("closed without a reply" if not data else "closed in the middle of a reply")
        data += chunk
    return data


class Tracker:
    """One connection. Requests are a text, or a name and its fields; replies come as (name, fields)."""

    def __init__(self, address, socks="127.0.0.1:9050"):
        self.line = dial(address, socks)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()

    def ask(self, name, fields=None):
        payload = encode(name if fields is None else {name: fields})
        self.line.settimeout(REPLY_S)
        self.line.sendall(struct.pack(">I", len(payload)) + payload)
        return self.next()

    def next(self, wait_s=REPLY_S):
        """The next message: a reply, or a `Spend` that is pushed. wait_s None: however long it takes."""
        self.line.settimeout(wait_s)
        (length,) = struct.unpack(">I", read_exactly(self.line, 4))
        if length > FRAME_MAX:
            raise NoAnswer(f"a frame of {length} bytes")
        try:
            message, end = decode(read_exactly(self.line, length))
        except (IndexError, KeyError, TypeError, ValueError, struct.error, RecursionError) as error:
            raise NoAnswer("this is no CBOR") from error
        if end != length or not isinstance(message, dict) or len(message) != 1:
            raise NoAnswer("this is no message of a tracker")
        ((name, fields),) = message.items()
        if name == "Error":
            raise NoAnswer(f"the tracker says {fields['code']}: {fields['message']}")
        return name, fields

    def status(self):
        return self.ask("Status")[1]

    def bonds(self):
        """Every live bond, all at one block: (the first page's fields without its bonds, bonds)."""
        for _ in range(RESTARTS_MAX):
            bonds, after, first = [], None, None
            while True:
                # A field that is null is a field that isn't there.
                page = self.ask("Bonds", {"limit": 500, "after": after})[1]
                first = first or page
                if page["block_hash"] != first["block_hash"]:
                    break  # a new block: the list has changed under us
                bonds += page["bonds"]
                after = page.get("next")
                if after is None:
                    return first, bonds
        raise NoAnswer("a new block came in between again and again")


def version_of(address, socks):
    """2, or 1: a tracker of version 1 closes on what it doesn't know, and answers Get on a new connection."""
    try:
        with Tracker(address, socks) as tracker:
            tracker.status()
            return 2
    except NoAnswer as closed:
        if "closed without" not in str(closed):
            raise
    with Tracker(address, socks) as tracker:
        tracker.ask("Get")
        return 1


# ---- checks ----------------------------------------------------------------------------------------------------------


def digest(bonds):
    """docs/protocol.md, "Digest": over all live bonds, in the order in which `Bonds` gives them."""
    hashed = hashlib.sha256()
    for bond in sorted(bonds, key=lambda bond: (bond["outpoint"]["txid"], bond["outpoint"]["vout"])):
        outpoint, address = bond["outpoint"], bond["address"].encode()
        lock_height = bond.get("lock_height") or 0
        hashed.update(outpoint["txid"])  # internal order, as it is on the wire
        hashed.update(struct.pack("<IQII", outpoint["vout"], bond["amount"], bond["conf_height"], lock_height))
        hashed.update(bytes([len(address)]) + address)
    return hashed.digest()


def value(amount, conf_time, lock_height, height, time):
    """docs/protocol.md, "Value": of a bond, at a block of this height and header time."""
    if lock_height is None or height > lock_height:
        return 0
    year = 60 * 60 * 24 * 365.2425
    ends = time + 600 * (lock_height - height)
    if ends < conf_time:
        return 0
    gained = math.expm1(0.015 * (ends - conf_time) / year)
    late = math.expm1(0.015 * max(0, time / year - ends / year))
    return math.floor((amount * max(0, min(1, gained) - min(1, late))) ** 1.3)


def faults(status, page, bonds):
    """What is wrong with a list, in words; an empty list when all is right."""
    found = []
    if "unseen" not in page and digest(bonds) != page["digest"]:
        found.append("the digest is not that of these bonds")
    for bond in bonds:
        wanted = value(
            bond["amount"], bond["block_time"], bond.get("lock_height"), status["height"], status["block_time"]
        )
        if abs(wanted - bond["value"]) > 1:  # doubles: at a whole number they may differ by one
            found.append(f"{bond['address']} has value {wanted}, not {bond['value']}")
    return found


# ---- what is typed ---------------------------------------------------------------------------------------------------


def display(internal):
    """A hash as people write it: the bytes reversed."""
    return internal[::-1].hex()


def outpoint_of(text):
    txid, vout = text.split(":")
    if len(txid) != 64:
        raise ValueError("an outpoint is <txid>:<vout>, the txid of 64 hex digits")
    return {"txid": bytes.fromhex(txid)[::-1], "vout": int(vout)}


def show_status(tracker, _options):
    status = tracker.status()
    print(f"{status['network']}, block {status['height']} {display(status['block_hash'])}, version {status['version']}")
    print(f"{status['bonds']} live bonds, {status['makers_up']} makers up, synced {str(status['synced']).lower()}")
    return 0


def show_makers(tracker, _options):
    for _ in range(RESTARTS_MAX):
        status = tracker.status()
        page, bonds = tracker.bonds()
        if page["block_hash"] == status["block_hash"]:
            break
    wrong = faults(status, page, bonds)
    best = {}
    for bond in bonds:
        if bond["address"] not in best or best[bond["address"]]["value"] < bond["value"]:
            best[bond["address"]] = bond
    for address, bond in sorted(best.items(), key=lambda entry: -entry[1]["value"]):
        proven = "proven" if bond["proven"] else "not proven"
        print(f"{address}  {bond['amount']} sats  value {bond['value']}  {bond['reach']}  {proven}")
    print(f"{len(bonds)} bonds of {len(best)} makers at block {page['height']}, digest {page['digest'].hex()}")
    for fault in wrong:
        print(f"WRONG: {fault}")
    if not wrong:
        print("digest and values are right")
    return 1 if wrong else 0


def show_why(tracker, options):
    answer = tracker.ask("Why", {"address": options.about})[1]
    print(f"{answer['address']} is {'' if answer['listed'] else 'not '}listed")
    for reason in answer["reasons"]:
        print(f"{reason['code']}: {reason['text']}")
    return 0


def watch(tracker, options):
    outpoints = [outpoint_of(options.about)]
    _, answer = tracker.ask("WatchMany" if options.once else "Subscribe", {"outpoints": outpoints})
    spends = answer["spends"]
    while True:
        for spend in spends:
            by = f" by {display(spend['txid'])}" if "txid" in spend else ""
            print(f"{display(spend['outpoint']['txid'])}:{spend['outpoint']['vout']} {spend['state']}{by}", flush=True)
        if options.once:
            return 0
        spends = [tracker.next(wait_s=None)[1]]  # whatever is pushed here is a Spend


VERBS = {"status": show_status, "makers": show_makers, "why": show_why, "watch": watch}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracker", help="host:port")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("about", nargs="?", help="why: a maker; watch: txid:vout")
    parser.add_argument("--socks", default="127.0.0.1:9050", help="Tor's SOCKS port")
    parser.add_argument("--once", action="store_true", help="watch: ask once, and end")
    options = parser.parse_args()
    if (options.about is None) == (options.verb in ("why", "watch")):
        parser.error(f"{options.verb} takes {'one thing' if options.about is None else 'nothing'} after it")
    try:
        if version_of(options.tracker, options.socks) == 1:
            raise NoAnswer("this tracker speaks version 1 alone: it knows Get and Watch")
        with Tracker(options.tracker, options.socks) as tracker:
            return VERBS[options.verb](tracker, options)
    except (NoAnswer, OSError) as error:
        print(f"taker.py: {error}", file=sys.stderr)
        return 69
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
