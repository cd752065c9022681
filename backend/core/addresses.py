"""Which addresses a request of ours may reach.

Checked on the address a socket is really opened to, not on the name, so that a name that changes its mind between the
check and the connection gains nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import urlsplit

Reach = Literal["public", "private", "forbidden"]

# Cloud metadata services that do not live in the link-local range; they hand out credentials to whoever asks.
_METADATA = frozenset(
    ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
# Networks whose addresses carry an IPv4 one in their last 32 bits: NAT64 (RFC 6052, RFC 8215), SIIT, and the old
# IPv4-compatible ones.
_CARRIERS = tuple(
    IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All that is given out on the internet; Python calls more of the rest global than is (fec0::/10)."""


def reach_of(address: str) -> Reach:
    """How far ``address`` (an IP literal, with or without a zone) is away.

    public: anywhere on the internet. private: this machine or its network, for hosts the operator has named.
    forbidden: link-local, metadata services, multicast, reserved; never.

    Raises:
        ValueError: If it is no IP address.
    """
    ip = _unwrapped(ip_address(address.partition("%")[0]))
    if ip in _METADATA or ip.is_link_local or ip.is_multicast:
        return "forbidden"
    if ip.version == 4 and ip.is_reserved:  # for IPv6 the tables call ::1 reserved as well
        return "forbidden"
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_V6:
        return "private"
    # What is not global counts as private, so also carrier-grade NAT (100.64/10), where VPNs such as Tailscale live.
    return "public" if ip.is_global else "private"


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return inner
        is_own = ip.is_loopback or ip.is_unspecified
        if not is_own and any(ip in network for network in _CARRIERS):
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host in lower case and port of an http(s) URL.

    Raises:
        ValueError: If it is no http(s) URL with a host, or carries a user name.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must start with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user name or password does not belong into the address")
    return (
        parts.scheme,
        parts.hostname.lower(),
        parts.port or (443 if parts.scheme == "https" else 80),
    )
