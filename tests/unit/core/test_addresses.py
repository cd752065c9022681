"""Which addresses may be reached."""

from __future__ import annotations

import pytest

from backend.core.addresses import origin_of, reach_of


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
    ],
)
def test_link_local_and_metadata_are_forbidden_in_every_disguise(address: str) -> None:
    assert reach_of(address) == "forbidden"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.1.2.3", "192.168.0.9", "172.20.0.1",
     "fd12::1", "fec0::1", "4000::1", "100.64.1.1", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine_and_its_networks_are_private(address: str) -> None:
    assert reach_of(address) == "private"


@pytest.mark.parametrize("address", ["1.1.1.1", "104.18.6.192", "2606:4700::1111"])
def test_the_internet_is_public(address: str) -> None:
    assert reach_of(address) == "public"


def test_an_origin_has_its_usual_port_and_a_lower_case_host() -> None:
    assert origin_of("https://OpenRouter.AI/api/v1") == ("https", "openrouter.ai", 443)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://x/", "http://", "//x", "http://me:pw@x/", "http://x:99999/"],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)
