"""Settings: what each may be, and what is said of a value that it may not have."""

from __future__ import annotations

import pytest

from registry.environment import made_by_kubernetes, read_settings
from registry.settings import BadSetting

LEVELS = "it must be debug, info, warning or error"
PLACE = "it must be HOST:PORT, with an IPv6 address in brackets: [2001:db8::1]:30100"
HOST = "it must be a host name or an address, without brackets and port"
NETWORKS = "it must be addresses or CIDR blocks such as 10.0.0.0/8"
#: What Kubernetes tells a pod of the Services `registry` (two ports, one of them called `http`) and `registry-redis`.
SERVICE_LINKS = {
    "REGISTRY_SERVICE_HOST": "10.96.0.7",
    "REGISTRY_SERVICE_PORT": "30100",
    "REGISTRY_SERVICE_PORT_HTTP": "30100",
    "REGISTRY_PORT": "tcp://10.96.0.7:30100",
    "REGISTRY_PORT_30100_TCP": "tcp://10.96.0.7:30100",
    "REGISTRY_PORT_30100_TCP_PROTO": "tcp",
    "REGISTRY_PORT_30100_TCP_PORT": "30100",
    "REGISTRY_PORT_30100_TCP_ADDR": "10.96.0.7",
    "REGISTRY_PORT_53_UDP": "udp://[fd00::7]:53",
    "REGISTRY_REDIS_SERVICE_HOST": "10.96.0.8",
    "REGISTRY_REDIS_PORT": "tcp://10.96.0.8:6379",
}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("port", "http", "is 'http', it must be a whole number from 0 to 65535 (port)"),
        ("port", "65536", "is '65536', it must be a whole number from 0 to 65535 (port)"),
        ("port", "-1", "is '-1', it must be a whole number from 0 to 65535 (port)"),
        ("port", "tcp:30100", "is 'tcp:30100', it must be a whole number from 0 to 65535 (port)"),
        ("workers", "0", "is '0', it must be a whole number from 1 to 64 (processes)"),
        ("workers", "1.5", "is '1.5', it must be a whole number from 1 to 64 (processes)"),
        ("redis_timeout_s", "nan", "is 'nan', it must be a number from 0.1 to 60 (seconds)"),
        ("redis_timeout_s", "soon", "is 'soon', it must be a number from 0.1 to 60 (seconds)"),
        ("mass_lapse_share", "2", "is '2', it must be a number from 0.01 to 1.0 (share)"),
        ("fast_lane", "perhaps", "is 'perhaps', it must be on or off"),
        ("log_level", "loud", f"is 'loud', {LEVELS}"),
        ("log_level", "INFO", f"is 'INFO', {LEVELS}"),
        ("durability", "paper", "is 'paper', it must be memory, disk or replica"),
        ("advertise", "registry", f"is 'registry', {PLACE}"),
        ("advertise", "registry:", f"is 'registry:', {PLACE}"),
        ("advertise", ":80", f"is ':80', {PLACE}"),
        ("advertise", "registry:0", f"is 'registry:0', {PLACE}"),
        ("advertise", "registry:65536", f"is 'registry:65536', {PLACE}"),
        ("advertise", "http://registry:80", f"is 'http://registry:80', {PLACE}"),
        ("advertise", "::1:80", f"is '::1:80', {PLACE}"),
        ("advertise", "[registry]:80", f"is '[registry]:80', {PLACE}"),
        ("advertise", "[::1:80", f"is '[::1:80', {PLACE}"),
        ("host", "[::1]", f"is '[::1]', {HOST}"),
        ("host", "127.0.0.1:80", f"is '127.0.0.1:80', {HOST}"),
        ("host", "a b", f"is 'a b', {HOST}"),
        ("admin_from", "10.0.0.1/8", f"has '10.0.0.1/8', {NETWORKS}: 10.0.0.1/8 has host bits set"),
        ("admin_from", "::1,here", f"has 'here', {NETWORKS}: 'here' does not appear to be an IPv4 or IPv6 network"),
        ("redis_url", "redis://h:x", "must name its servers as HOST:PORT, several separated by commas"),
    ],
)
def test_value_that_cannot_be_used_is_complained_about_under_the_name_by_which_it_came(
    name: str, value: str, said: str
) -> None:
    """An operator who gave a flag does not find the variable in his files."""
    flag, variable = "--" + name.replace("_", "-"), "REGISTRY_" + name.upper()
    with pytest.raises(BadSetting) as by_flag:
        read_settings({}, {name: value})
    with pytest.raises(BadSetting) as by_variable:
        read_settings({variable: value})
    assert [str(by_flag.value), str(by_variable.value)] == [f"{flag} {said}", f"{variable} {said}"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": 80, "probe_port": 80}, "REGISTRY_PROBE_PORT is 80, and so is REGISTRY_PORT"),
        ({"port": 80, "tls_port": 80}, "REGISTRY_TLS_PORT is 80, and so is REGISTRY_PORT"),
        ({"port": 0, "tls_port": 80, "probe_port": 80}, "REGISTRY_PROBE_PORT is 80, and so is REGISTRY_TLS_PORT"),
    ],
)
def test_port_that_is_named_twice_is_refused(given: dict[str, int], said: str) -> None:
    """The kernel lets two sockets be bound to it, and refuses the second one when it is to listen."""
    with pytest.raises(BadSetting, match=f"^{said}: each needs its own port$"):
        read_settings({}, {"tls_cert_file": "c", **given})


def test_ports_that_are_free_are_no_port_named_twice() -> None:
    assert read_settings({}, {"tls_cert_file": "c", "port": 0, "tls_port": 0, "probe_port": 0}).port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("advertise", place) for place in ("registry:80", "my_host.example:65535", "10.0.0.1:1", "[2001:db8::1]:80")),
        *(("host", host) for host in ("0.0.0.0", "::", "::1", "fe80::1%eth0", "localhost", "my_host.example")),
    ],
)
def test_places_that_can_be_meant_are_taken(name: str, value: str) -> None:
    """In containers names have underscores, and IPv6 addresses stand in brackets where a port follows."""
    assert getattr(read_settings({}, {name: value}), name) == value


def test_what_kubernetes_makes_for_a_service_called_registry_sets_nothing() -> None:
    """Every pod of the namespace gets these variables; the registry must start in it."""
    assert made_by_kubernetes(SERVICE_LINKS) == sorted(SERVICE_LINKS)
    assert read_settings(SERVICE_LINKS) == read_settings({})
    assert read_settings(SERVICE_LINKS, {"port": "1"}).port == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"REGISTRY_PORT": "8080"},
        {"REGISTRY_PORT_8080": "tcp://10.96.0.7:8080"},
        {"REGISTRY_SERVICE": "10.96.0.7"},
        {"REGISTRY_PORT_8080_HTTP": "10.96.0.7"},
        {"OTHER_SERVICE_HOST": "10.96.0.7"},
    ],
)
def test_nothing_else_is_taken_for_made_by_kubernetes(environment: dict[str, str]) -> None:
    """A slip in the name of a setting must go on being told."""
    assert made_by_kubernetes(environment) == []
