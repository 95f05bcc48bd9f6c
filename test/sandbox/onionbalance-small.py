"""
Onionbalance (Debian's, untouched) for a private network of a few relays: the same program with the same arguments, but

- it asks and publishes every few seconds instead of every few minutes, and begins at once;
- it gives its descriptor to every directory: its walk around the ring takes a small ring's second turn for a fault;
- the last relay of Tor's list is kept: stem cuts the line end that its microdescriptor is read by.

The time between votes is left as it is in the public network, an hour: the network has to be started that way.
"""

import sys

from onionbalance.hs_v3 import hashring, params
from stem.control import Controller
from stem.descriptor.microdescriptor import Microdescriptor

params.INITIAL_CALLBACK_DELAY = 2
params.FETCH_DESCRIPTOR_FREQUENCY = 3
params.PUBLISH_DESCRIPTOR_CHECK_FREQUENCY = 3
params.FRONTEND_DESCRIPTOR_LIFETIME = 60


def every_directory(_blinded_key, is_first):
    ring = hashring._get_hash_ring_for_descriptor(is_first)
    if not ring:
        raise hashring.EmptyHashRing
    return sorted({node.get_hex_fingerprint() for node in ring.values()})


def whole_microdescriptors(self):
    text = self.get_info("md/all", get_bytes=True).rstrip(b"\n") + b"\n"
    begins = b"onion-key\n"
    return [Microdescriptor(begins + part) for part in text.split(begins)[1:]]


hashring.get_responsible_hsdirs = every_directory
Controller.get_microdescriptors = whole_microdescriptors

if __name__ == "__main__":
    from onionbalance.manager import main

    sys.exit(main())
