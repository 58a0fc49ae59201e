"""What Prometheus scrapes: the format as its own parser reads it, numbers that add up with what was done, no label that a client can
choose, and a dashboard and a page of documentation that name only what is there."""
import http.client
import json
import re
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

import pgwire
from daemon import ROOT
from database import PAN, PANS, free_port, wait_until

POLICY = """version: 1
rules:
  - {name: no-drop, when: {target: "*", statement: drop}, then: block, because: Not here.}
"""


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return reply.read().decode()


def parse(text):
    """Families by name, as Prometheus's own client library reads them; and the rules of the format that it does not check."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    seen, described, typed = [], set(), set()
    samples = set()
    for line in text.splitlines():
        assert line == line.strip() and line, "no empty line, no stray space"
        word = line.split(" ")
        if line.startswith("# HELP "):
            assert word[2] not in described and len(word) > 4, f"one help text, of several words: {line}"
            described.add(word[2])
            seen.append(word[2])
        elif line.startswith("# TYPE "):
            assert word[2] == seen[-1] and word[2] not in typed
            assert word[3] in ("counter", "gauge", "histogram")
            typed.add(word[2])
        else:
            name = re.match(r"[a-z_][a-z0-9_]*", line).group()
            assert name == seen[-1] or (name.startswith(seen[-1] + "_") and name[len(seen[-1]):] in ("_bucket", "_sum", "_count")), line
            series = line.rsplit(" ", 1)[0]
            assert series not in samples, f"twice: {series}"
            samples.add(series)
    assert described == typed
    for family in families.values():
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        if family.type == "histogram":
            check_histogram(family)
    return families


def check_histogram(family):
    by_labels = {}
    for sample in family.samples:
        rest = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        by_labels.setdefault(rest, []).append(sample)
    for samples in by_labels.values():
        buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket")]
        assert [b[0] for b in buckets] == sorted(b[0] for b in buckets) and buckets[-1][0] == float("inf")
        assert [b[1] for b in buckets] == sorted(b[1] for b in buckets), "buckets are cumulative"
        assert buckets[-1][1] == next(s.value for s in samples if s.name.endswith("_count"))


def value(families, name, **labels):
    samples = [sample for family in families.values() for sample in family.samples if sample.name == name]
    found = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    assert found, f"{name} {labels}: {samples}"
    return sum(found)


@pytest.fixture
def measured(make_daemon):
    """A daemon with a metrics address, and its port."""
    port = free_port()
    return make_daemon(POLICY, extra=f'metrics: "127.0.0.1:{port}"'), port


def test_numbers_are_those_of_what_was_done(measured, postgres):
    daemon, port = measured
    before = parse(scrape(port))
    assert value(before, "sluice_build_info", version=json.loads(daemon.cli("version", "--json").stdout)["version"]) == 1
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for number in range(5):
            client.run(f"select pan from cards where id = 1 -- {number}")
        client.run("drop table cards")
        client.run("select nothing from nowhere")
        client.run("begin; select 1; commit")
        # Longer than what a worker analyses itself.
        client.run("select 1 where " + " or ".join(f"1 = {number}" for number in range(200)))
        live = parse(scrape(port))
        assert value(live, "sluice_sessions", target="cards-db") == 1
    daemon.wait_event("type=session_ended")
    after = parse(scrape(port))
    assert value(after, "sluice_sessions", target="cards-db") == 0
    assert value(after, "sluice_sessions_started_total", target="cards-db") == 1
    assert value(after, "sluice_sessions_ended_total", target="cards-db") == 1
    assert value(after, "sluice_commands_total", decision="allow", kind="select") == 7
    assert value(after, "sluice_commands_total", decision="allow", kind="several") == 1
    assert value(after, "sluice_commands_total", decision="block", kind="drop") == 1
    assert value(after, "sluice_refusals_total", reason="policy") == 1
    assert value(after, "sluice_refusals_total") == 1
    assert value(after, "sluice_commands_failed_total") == 1
    assert value(after, "sluice_findings_total", kind="pan", brand="visa") == 5
    assert value(after, "sluice_accepted_connections_total", outcome="session") == 1
    coverage = daemon.coverage()
    for outcome in ("redirected", "refused", "exempt", "uncovered"):
        assert value(after, "sluice_connects_total", target="cards-db", outcome=outcome) == coverage[outcome]
    assert value(after, "sluice_connects_total", target="cards-db") == coverage["connects"]
    assert value(after, "sluice_audit_log_healthy") == 1
    assert value(after, "sluice_audit_log_records") > value(before, "sluice_audit_log_records")
    assert value(after, "sluice_audit_log_commit_seconds_count") > 0
    assert value(after, "sluice_gate_wait_seconds_count", **{"for": "durability"}) > 0, "strict: commands wait for the disk"
    assert value(after, "sluice_gate_wait_seconds_count", **{"for": "analysis"}) == 1
    assert value(after, "sluice_analysis_seconds_count", where="thread") == 1
    assert value(after, "sluice_analysis_seconds_count", where="worker") > 5
    assert value(after, "sluice_statement_cache_lookups_total", outcome="miss") == value(after, "sluice_statement_cache_entries")
    assert value(after, "sluice_session_bytes_total", to="client") > 100
    assert value(after, "process_resident_memory_bytes") > 1 << 20
    assert 0 < value(after, "process_open_fds") < value(after, "process_max_fds")
    assert value(after, "process_cpu_seconds_total") > 0
    assert value(after, "sluice_self_findings_total") == 0
    # Every counter that was there before is not lower now.
    for family in before.values():
        if family.type == "counter":
            for sample in family.samples:
                assert value(after, sample.name, **sample.labels) >= sample.value, sample


def test_parse_failures_and_strangers_are_counted(measured, postgres):
    daemon, port = measured
    with daemon.steered(), socket.create_connection(("127.0.0.1", postgres.port), timeout=10) as client:
        client.sendall(b"\x00\x00\x00\x00garbage that is no start-up message")
        client.recv(1000)
    daemon.wait_event("type=session_ended")
    families = parse(scrape(port))
    assert value(families, "sluice_refusals_total", reason="protocol") == 1
    assert value(families, "sluice_sessions_ended_total", reason="protocol_violation") == 1


def test_no_label_that_a_client_can_choose(measured, postgres):
    daemon, port = measured
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
    before = len(scrape(port).splitlines())
    with daemon.steered():
        for number in range(40):
            with pgwire.Connection("127.0.0.1", postgres.port, application_name=f"client-{number}-{PAN}") as client:
                client.run(f"select {number} as \"{PAN}\", 'x{number}' from plain where note = '{PAN}'")
    text = scrape(port)
    allowed = {"target", "outcome", "reason", "decision", "kind", "brand", "for", "where", "le", "to", "ring", "worker", "version"}
    for family in parse(text).values():
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
    assert len(text.splitlines()) - before < 10, "series do not grow with clients"
    assert not any(pan in text for pan in PANS) and "client-" not in text


def test_the_address_serves_metrics_alone(measured):
    daemon, port = measured
    for path in ("/", "/v1/status", "/v1/reload", "/metricsx"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
        assert caught.value.code == 404, path
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("POST", "/metrics")
    assert client.getresponse().status == 405
    for garbage in (b"garbage\r\n\r\n", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"\x00" * 1000):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            try:
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
                assert b" 200 " not in raw.recv(1000)
            except OSError:
                pass  # refused before it was read to its end
    # Slow ones take their own places and are told so; they end, and then there is room again.
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(30)]
    wait_until("a scrape finds room again", lambda: scrape_or_none(port), seconds=30)
    for client in slow:
        client.close()
    assert daemon.status()["state"] == "running"


def scrape_or_none(port):
    try:
        return scrape(port)
    except (urllib.error.URLError, ConnectionError):
        return None


def test_the_control_socket_has_them_too(measured):
    daemon, port = measured
    assert set(parse(daemon.metrics())) == set(parse(scrape(port)))


def test_an_address_that_is_taken_stops_the_start(make_daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = make_daemon(start=False, extra=f'metrics: "127.0.0.1:{taken.getsockname()[1]}"')
        with pytest.raises(AssertionError, match="metrics: bind 127.0.0.1"):
            daemon.start()
        daemon.process = None


def metric_names(families):
    return {sample.name for family in families.values() for sample in family.samples} | set(families)


def test_every_panel_of_the_dashboard_queries_what_is_there(measured):
    _, port = measured
    text = scrape(port)
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    names |= {f"{name}_{suffix}" for name in re.findall(r"^# TYPE (\S+) histogram", text, re.M) for suffix in ("bucket", "sum", "count")}
    dashboard = json.loads((ROOT / "scripts/packaging/grafana/sluice.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) >= 12
    used = set()
    for panel in panels:
        assert panel["title"] and panel["targets"], panel
        for target in panel["targets"]:
            found = set(re.findall(r"\b(?:sluice|process)_[a-z_0-9]+", target["expr"]))
            assert found and found <= names, f"{panel['title']}: {found - names}"
            used |= found
            labels = set(re.findall(r'[{,]\s*([a-z]+)\s*=~?"', target["expr"])) | set(re.findall(r"by \(([a-z, ]+)\)", target["expr"]))
            assert all(label.strip() in {"target", "outcome", "reason", "decision", "kind", "brand", "for", "where", "le", "to", "ring",
                                         "worker", "instance", "version"} for group in labels for label in group.split(",")), target["expr"]
    assert {"sluice_connects_total", "sluice_commands_total", "sluice_findings_total", "sluice_audit_log_healthy"} <= used
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_every_metric_is_documented(measured):
    _, port = measured
    text = scrape(port)
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    documented = set(re.findall(r"^\| `([a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    assert documented == names, f"undocumented: {names - documented}; gone: {documented - names}"
