"""Which addresses are public, and which URLs an owner may give.

An owner could name the metadata service of the cloud, a database or our internal routes. What is checked here is the
URL as it is written; where a connection is made, the address is checked again (`dialling.py`).
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx2

from recado.core.errors import InvalidInput
from recado.core.unicode import normalized

MOST_URL = 2_000

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressPolicy: TypeAlias = Callable[[IpAddress], bool]


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# The result of `is_global` depends on the patch release of Python, so every range that matters is listed here too.
_NOT_PUBLIC: Final = _networks(
    # IPv4: all ranges that IANA keeps for special purposes, multicast and reserved ranges …
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
    # … and addresses of clouds that look public: Azure's host; services inside the clouds of IBM and Equinix Metal
    # (their metadata).
    *("168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14", "192.80.8.124/32"),
    # IPv6: ranges inside the public space that are not public: protocols (such as Teredo), examples, 6to4.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
_PUBLIC_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_WITH_IPV4_INSIDE: Final = _networks("::ffff:0:0/96", "64:ff9b::/96")
"""The IPv6 forms of an IPv4 address: as IPv6 writes it, and as a translator of the network writes it."""
_METADATA: Final = _networks(
    *("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "169.254.0.23/32", "fd00:ec2::/32"),
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "192.80.8.124/32", "fd20:ce::254/128"),
    "fe80::a9fe:a9fe/128",
)
"""Addresses where clouds give the keys of a machine to every program on it. No model and no agent runs there."""


def is_public(address: IpAddress) -> bool:
    """Return whether an address is public, even if it contains an IPv4 address."""
    inner = _ipv4_inside(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def is_not_metadata(address: IpAddress) -> bool:
    """Return whether an address is none of those where a cloud gives away the keys of the machine."""
    inner = _ipv4_inside(address) or address
    return not any(inner in network for network in _METADATA)


def _ipv4_inside(address: IpAddress) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _WITH_IPV4_INSIDE):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def literal_address(host: str) -> IpAddress | None:
    """Return the address if the host is written as one, in any spelling that a resolver accepts. `localhost` counts."""
    plain = normalized("NFKC", host[:300]).replace("。", ".").rstrip(".").lower()
    if plain == "localhost" or plain.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        pass
    try:  # A dialler reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1.
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


def names_private_address(url: str) -> bool:
    """Return whether a URL names a private address, without a DNS query."""
    address = _address_in(url)
    return address is not None and not is_public(address)


def names_metadata(url: str) -> bool:
    """Return whether a URL names the metadata service of a cloud, without a DNS query."""
    address = _address_in(url)
    return address is not None and not is_not_metadata(address)


def _address_in(url: str) -> IpAddress | None:
    try:
        return literal_address(urlsplit(url[:MOST_URL]).hostname or "")
    except ValueError:  # Not a URL; the error of `checked_url` says so.
        return None


def origin(url: str) -> str:
    """Return scheme, host and port: the place that receives what is sent to `url`."""
    try:
        parts = urlsplit(url[:MOST_URL])
        return f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        return ""


def checked_url(name: str, url: str, *, private: bool) -> str:
    """Return `url` if an agent may use it: http(s), a host, no password; plain http only within a private network."""
    if len(url) > MOST_URL:  # Checked before parsing, which takes long for some texts.
        raise InvalidInput(f"{name} is too long: {len(url):,} characters, {MOST_URL:,} at most")
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine or not url.isprintable():
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path")
    if parts.username is not None or parts.password is not None or " " in url:
        raise InvalidInput(f"{name} must not hold a user name, a password or spaces")
    address = literal_address(parts.hostname)
    if parts.scheme == "http" and not private and not (address is not None and address.is_loopback):
        raise InvalidInput(f"{name} must start with https://; plain http is for loopback and private networks only")
    if (private or address is None or is_public(address)) and not _can_be_called(url):
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path")
    return url


def _can_be_called(url: str) -> bool:
    """Return whether our client takes a URL. It refuses some that Python parses, such as https://300.1.1.1/."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return True
