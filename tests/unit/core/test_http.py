"""The HTTP client: bounds, addresses, redirects, and errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from backend.contracts.errors import EngineUnavailableError, ProviderError
from backend.core.http import (
    HttpClient,
    Provider,
    Timeouts,
    kind_of,
    redact,
    refusal,
    retry_after_s,
    said_in,
)
from tests.servers.wire import Request, Wire, WireServer

KEY = "sk-verysecret-0123456789"
PROVIDER = Provider("openai", "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", secrets=(KEY,))
QUICK = Timeouts(connect_s=2, head_s=0.5, between_s=0.5, total_s=2)


class Scripted(WireServer):
    """A server whose answers are functions by path."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, Callable[[Request, Wire], Awaitable[None]]] = {}

    async def answer(self, request: Request, wire: Wire) -> None:
        page = self.pages.get(request.path)
        if request.method == "HEAD":
            await wire.head("200 OK", {"Content-Length": "5"}, chunked=False)
        elif page is None:
            await wire.json({"path": request.path, "headers": request.headers})
        else:
            await page(request, wire)

    def redirect(self, path: str, target: str, status: str = "302 Found") -> None:
        async def page(_: Request, wire: Wire) -> None:
            await wire.whole(status, b"", "text/plain", {"Location": target})

        self.pages[path] = page


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server
    assert not server.errors


@pytest.fixture
async def http(server: Scripted) -> AsyncIterator[HttpClient]:
    client = HttpClient()
    client.trust(server.url)
    yield client
    await client.close()


async def test_a_connection_is_used_again(http: HttpClient, server: Scripted) -> None:
    assert await http.warm(server.url)
    for _ in range(3):
        await http.fetch(PROVIDER, "GET", server.url + "/x")
    assert server.connections == 1


async def test_a_kept_connection_that_the_server_closed_is_repaired_silently(
    http: HttpClient, server: Scripted
) -> None:
    await http.fetch(PROVIDER, "GET", server.url)

    async def hang_up(_: Request, wire: Wire) -> None:
        wire.abort()
        server.pages.clear()

    server.pages["/again"] = hang_up
    assert (await http.fetch(PROVIDER, "POST", server.url + "/again", json={})).status == 200


async def test_private_addresses_are_refused_unless_the_operator_set_the_host(
    server: Scripted,
) -> None:
    stranger = HttpClient()
    with pytest.raises(ProviderError, match="inside this network") as caught:
        await stranger.fetch(PROVIDER, "GET", server.url)
    assert caught.value.kind == "unreachable"
    assert not server.requests
    stranger.trust(f"http://127.0.0.1:{server.port + 1}")
    with pytest.raises(ProviderError):  # another port of the same host is another server
        await stranger.fetch(PROVIDER, "GET", server.url)
    await stranger.close()


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254"])
async def test_metadata_addresses_are_refused_even_when_the_operator_names_them(
    address: str,
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    http = HttpClient(resolve)
    http.trust("http://metadata.internal/")
    with pytest.raises(ProviderError, match="never contacted"):
        await http.fetch(PROVIDER, "GET", "http://metadata.internal/latest")
    await http.close()


async def test_a_name_with_one_bad_address_is_refused_as_a_whole(server: Scripted) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "169.254.169.254"]

    http = HttpClient(resolve)
    http.trust(f"http://two-faced.test:{server.port}")
    with pytest.raises(ProviderError, match="never contacted"):
        await http.fetch(PROVIDER, "GET", f"http://two-faced.test:{server.port}/")
    assert server.connections == 0
    await http.close()


async def test_the_second_address_is_tried_when_the_first_refuses(server: Scripted) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    http = HttpClient(resolve)
    http.trust(f"http://twice.test:{server.port}")
    assert (await http.fetch(PROVIDER, "GET", f"http://twice.test:{server.port}/")).status == 200
    await http.close()


async def test_a_redirect_to_another_host_loses_the_key(http: HttpClient, server: Scripted) -> None:
    async with Scripted() as other:
        http.trust(other.url)
        server.redirect("/file", other.url + "/there")
        await http.fetch(
            PROVIDER,
            "GET",
            server.url + "/file",
            headers={"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY, "Range": "bytes=0-"},
        )
        sent = other.requests[0].headers
    assert KEY not in str(sent)
    assert sent["range"] == "bytes=0-"


async def test_a_redirect_on_the_same_host_keeps_the_key(
    http: HttpClient, server: Scripted
) -> None:
    server.redirect("/old", "/new")
    await http.fetch(
        PROVIDER, "GET", server.url + "/old", headers={"authorization": f"Bearer {KEY}"}
    )
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_message_is_never_sent_on_to_another_host(
    http: HttpClient, server: Scripted, status: str
) -> None:
    async with Scripted() as other:
        http.trust(other.url)
        server.redirect("/chat", other.url + "/chat", status)
        with pytest.raises(ProviderError, match="set OPENAI_BASE_URL") as caught:
            await http.fetch(PROVIDER, "POST", server.url + "/chat", json={"secret": 1})
        assert caught.value.kind == "request"
        assert other.connections == 0


async def test_a_redirect_to_a_private_host_nobody_set_is_refused(
    http: HttpClient, server: Scripted
) -> None:
    async with Scripted() as other:
        server.redirect("/file", other.url)
        with pytest.raises(ProviderError, match="inside this network"):
            await http.fetch(PROVIDER, "GET", server.url + "/file")
        assert other.connections == 0


async def test_a_redirect_to_a_file_is_refused(http: HttpClient, server: Scripted) -> None:
    server.redirect("/file", "file:///etc/passwd")
    with pytest.raises(ProviderError, match="must start with http"):
        await http.fetch(PROVIDER, "GET", server.url + "/file")


async def test_redirects_in_a_circle_end(http: HttpClient, server: Scripted) -> None:
    server.redirect("/a", "/b")
    server.redirect("/b", "/a")
    with pytest.raises(ProviderError, match="more than 5 times"):
        await http.fetch(PROVIDER, "GET", server.url + "/a")


async def test_an_answer_larger_than_the_bound_is_refused(
    http: HttpClient, server: Scripted
) -> None:
    async def flood(_: Request, wire: Wire) -> None:
        await wire.head()
        while True:
            await wire.piece(b"x" * 10_000)

    server.pages["/flood"] = flood
    with pytest.raises(ProviderError, match="more than 50,000 bytes") as caught:
        await http.fetch(PROVIDER, "GET", server.url + "/flood", max_bytes=50_000)
    assert caught.value.kind == "malformed"


async def test_an_endless_error_page_is_cut(http: HttpClient, server: Scripted) -> None:
    async def flood(_: Request, wire: Wire) -> None:
        await wire.head("500 Oops")
        while True:
            await wire.piece(b"so sorry " * 1000)

    server.pages["/flood"] = flood
    with pytest.raises(ProviderError, match="so sorry") as caught:
        await http.fetch(PROVIDER, "GET", server.url + "/flood")
    assert len(caught.value.message) < 500


async def test_a_compressed_answer_that_nobody_asked_for_is_refused(
    http: HttpClient, server: Scripted
) -> None:
    async def zipped(_: Request, wire: Wire) -> None:
        await wire.whole("200 OK", b"\x1f\x8b", "text/plain", {"Content-Encoding": "gzip"})

    server.pages["/zip"] = zipped
    with pytest.raises(ProviderError, match="compressed"):
        await http.fetch(PROVIDER, "GET", server.url + "/zip")


async def test_what_is_no_http_server_is_called_so(http: HttpClient, server: Scripted) -> None:
    async def ssh(_: Request, wire: Wire) -> None:
        await wire.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    server.pages["/"] = ssh
    with pytest.raises(ProviderError, match="does not speak HTTP") as caught:
        await http.fetch(PROVIDER, "GET", server.url + "/")
    assert caught.value.kind == "malformed"


async def test_a_refused_connection_says_where_and_what_to_do(
    http: HttpClient, server: Scripted
) -> None:
    await server.refuse()
    with pytest.raises(ProviderError) as caught:
        await http.fetch(PROVIDER, "GET", server.url + "/v1?key=abc")
    assert caught.value.kind == "unreachable"
    assert caught.value.message == (
        f"OpenAI cannot be reached at {server.url}/v1 (connection refused)."
        " Start it, or correct OPENAI_BASE_URL."
    )


async def test_an_unknown_name_says_so(http: HttpClient) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    client = HttpClient(resolve)
    with pytest.raises(ProviderError, match=r"'nowhere\.test' does not exist or DNS is down"):
        await client.fetch(PROVIDER, "GET", "https://nowhere.test/")
    await client.close()


async def test_a_key_with_a_line_break_never_leaves(http: HttpClient, server: Scripted) -> None:
    with pytest.raises(EngineUnavailableError, match="Check OPENAI_API_KEY"):
        await http.fetch(
            PROVIDER, "GET", server.url, headers={"authorization": "Bearer a\r\nHost: evil"}
        )
    assert not server.requests


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, "", "key"),
        (403, "", "key"),
        (402, "", "quota"),
        (429, "", "rate"),
        (429, "You exceeded your current quota", "quota"),
        (400, "Your credit balance is too low", "quota"),
        (400, "", "request"),
        (404, "", "request"),
        (413, "", "request"),
        (422, "", "request"),
        (408, "", "server"),
        (500, "", "server"),
        (529, "overloaded", "server"),
    ],
)
def test_the_kind_of_a_failure_follows_from_status_and_words(
    status: int, text: str, kind: str
) -> None:
    assert kind_of(status, text) == kind


def test_a_refusal_names_the_setting_and_hides_the_key() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: ' + KEY.encode() + b'"}}'
    error = refusal(PROVIDER, 401, {}, body)
    assert error.message == (
        "OpenAI refused the key (401: “Incorrect API key provided: [key]”)."
        " Set OPENAI_API_KEY in .env or in Settings."
    )


@pytest.mark.parametrize(
    "text",
    [f"key {KEY} is bad", "Bearer abcdef123456", "sk-proj-abcdefgh1234", "AIza-abcdefgh12345"],
)
def test_whatever_looks_like_a_key_is_redacted(text: str) -> None:
    assert "[key]" in redact(text, (KEY,))
    assert KEY not in redact(text, (KEY,))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no\\nway"}}', "no way"),
        (b'{"error": "short"}', "short"),
        (b'{"detail": [{"msg": "field required"}]}', "field required"),
        (b"<html><title>502 Bad\nGateway</title></html>", "502 Bad Gateway"),
        (b"<p>plain <b>words</b></p>", "plain words"),
        (b"\xff\xfe\x00", "��"),
        (b"", ""),
    ],
)
def test_the_servers_own_words_are_found(body: bytes, said: str) -> None:
    assert said_in(body) == said


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2020 07:28:00 GMT"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after_s(headers, lambda: now) == seconds


def test_importing_the_client_does_not_import_httpx() -> None:
    code = "import sys, backend.core.http; print('httpx' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


async def test_proxy_variables_are_not_read(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    http = HttpClient()
    http.trust(server.url)
    assert (await http.fetch(PROVIDER, "GET", server.url)).status == 200
    await http.close()
