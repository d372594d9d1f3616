"""Network namespaces for nodes of a cluster on one machine, whose cable can be pulled. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BRIDGE = "chaos0"
SUBNET = "10.213.77"


@dataclass(frozen=True)
class Namespace:
    """A namespace with one cable to the bridge, where this machine is `.1`."""

    number: int

    @property
    def name(self) -> str:
        """As `ip netns` knows it."""
        return f"chaos{self.number}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"{SUBNET}.{self.number + 1}"

    @property
    def prefix(self) -> list[str]:
        """What a command begins with, to run in it."""
        return ["ip", "netns", "exec", self.name]

    def cable(self, state: str) -> None:
        """Pull the cable ("down") or put it back ("up")."""
        _ip("link", "set", f"{self.name}h", state)


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Namespaces on a bridge of their own; whatever an earlier study left of them is removed first.

    Raises:
        subprocess.CalledProcessError: this process may not make them.
    """
    found = [Namespace(number) for number in range(1, count + 1)]
    _remove(found)
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for each in found:
            _lay(each)
        yield found
    finally:
        _remove(found)


def _lay(space: Namespace) -> None:
    here, there = f"{space.name}h", f"{space.name}n"
    _ip("netns", "add", space.name)
    _ip("link", "add", here, "type", "veth", "peer", "name", there)
    _ip("link", "set", there, "netns", space.name)
    _ip("link", "set", here, "master", BRIDGE, "up")
    for command in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{space.address}/24", "dev", there),
        ("link", "set", there, "up"),
        ("route", "add", "default", "via", f"{SUBNET}.1"),
    ):
        _ip("-n", space.name, *command)


def _remove(spaces: list[Namespace]) -> None:
    for space in spaces:
        _ip("netns", "del", space.name, check=False)
        _ip("link", "del", f"{space.name}h", check=False)
    _ip("link", "del", BRIDGE, check=False)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)
