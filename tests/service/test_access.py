"""Who may do what."""

import pytest
from fastapi import HTTPException

from sunaug.errors import SunaugError, UsageError
from sunaug.service.access import LOCAL, Access, Keys, read_pepper
from sunaug.service.database import KEYS, Database
from sunaug.service.rates import Rate
from tests.service.serving import file, in_thread, make_key, open_keys


@pytest.fixture
def keys(tmp_path):
    return Keys(Database(f"sqlite:///{tmp_path}/keys.sqlite"), b"p" * 32)


@pytest.fixture(scope="module")
def service(tiny, tmp_path_factory):
    state = tmp_path_factory.mktemp("service") / "state"
    with in_thread(state, tiny, per_second=500) as running:
        yield running


@pytest.fixture
def ada(service):
    with service.client(make_key(service.state, "Ada")[1]) as client:
        yield client


def _access(keys, open_to_local=True):
    return Access(keys, open_to_local=open_to_local, rate=Rate(1000, 1000))


def _status(access, token, scope="read", host="localhost"):
    try:
        access.authorise(token, scope, peer="192.0.2.1", host=host)
    except HTTPException as error:
        return error.status_code
    return 200


def test_the_database_does_not_hold_the_key(keys):
    key, token = keys.create("Ada", ["read"])
    with keys._database.reading() as connection:
        row = connection.execute(KEYS.select()).one()
    assert token.rsplit("_", 1)[1] not in str(row)
    assert keys.find(token) == key
    other = Keys(keys._database, b"q" * 32)
    assert other.find(token) is None  # the hash says nothing without the secret beside the database


def test_forged_and_revoked_keys(keys):
    key, token = keys.create("Ada", ["read"])
    access = _access(keys)
    assert _status(access, token) == 200
    for forged in (None, "", token[:-1] + ("A" if token[-1] != "A" else "B"), f"sunaug_{key.id}_", f"{token}x", "é"):
        assert _status(access, forged) == 401, forged
    assert _status(access, token, "generate") == 403
    keys.revoke(key.id)
    assert _status(access, token) == 401
    with pytest.raises(UsageError, match="no such key in use"):
        keys.revoke(key.id)


def test_wrong_keys_are_not_looked_at_for_ever(keys):
    _, token = keys.create("Ada", ["read"])
    access = _access(keys)
    found = [_status(access, "wrong") for _ in range(40)]
    assert found[0] == 401
    assert found[-1] == 429
    assert _status(access, token) == 429  # from the same address


def test_without_keys_localhost_may_do_all(keys):
    access = _access(keys)
    assert access.authorise(None, "admin", peer="127.0.0.1", host="localhost") is LOCAL
    assert _status(access, None, host="evil.example") == 403  # a name that somebody has pointed at this machine
    assert _status(_access(keys, open_to_local=False), None) == 401
    key, _ = keys.create("Ada", ["read"])
    assert _status(access, None) == 401
    keys.revoke(key.id)
    assert _status(access, None) == 401  # revoking the last key opens no door


def test_rates():
    rate = Rate(per_second=2, burst=3)
    assert [rate.wait("a") for _ in range(4)] == [0, 0, 0, 1]
    assert rate.wait("b") == 0


@pytest.mark.parametrize(
    ("name", "scopes", "per_day"),
    [("a\nb", ["read"], None), ("a", ["root"], None), ("a", [], None), ("a", ["read"], 0)],
)
def test_keys_that_are_not_made(keys, name, scopes, per_day):
    with pytest.raises(UsageError):
        keys.create(name, scopes, per_day)
    assert not keys.list()


def test_a_damaged_secret(tmp_path):
    (tmp_path / "pepper").write_bytes(b"short")
    with pytest.raises(SunaugError, match="is damaged"):
        read_pepper(tmp_path / "pepper")
    assert len(read_pepper(tmp_path / "new" / "pepper")) == 32
    assert (tmp_path / "new" / "pepper").stat().st_mode & 0o777 == 0o600


def test_keys_over_http(service, ada):
    assert service.client().get("/v1/batches").status_code == 401
    assert service.client("sunaug_000000000000_" + "A" * 43).get("/v1/batches").status_code == 401
    key, token = make_key(service.state, "Eve", ("read",))
    eve = service.client(token)
    assert eve.get("/v1/batches").json() == {"batches": [], "total": 0}
    assert eve.post("/v1/batches", json={"n": 1}).status_code == 403
    assert eve.get("/v1/metrics").status_code == 403
    open_keys(service.state).revoke(key.id)
    assert eve.get("/v1/batches").status_code == 401
    assert service.client().get("/v1/health").status_code == 200


def test_somebody_elses_batch_is_not_there(service, ada):
    batch = file(ada, n=12, seed=21)
    other = service.client(make_key(service.state, "Eve")[1])
    address = f"/v1/batches/{batch['id']}"
    for found in (
        other.get(address),
        other.get(f"{address}/download"),
        other.get(f"{address}/stream"),
        other.delete(address),
        other.get("/v1/batches/" + "0" * 32),
    ):
        assert found.status_code == 404
        assert found.json() == other.get("/v1/batches/" + "0" * 32).json()
    assert other.get("/v1/batches").json()["total"] == 0
    operator = service.client(make_key(service.state, "operator", ("admin", "read"))[1])
    assert operator.get(address).status_code == 200
    assert 'sunaug_sets{state="queued"} 1.0' in operator.get("/v1/metrics").text


def test_the_quota_of_a_day(service):
    client = service.client(make_key(service.state, "Bob", per_day=20)[1])
    file(client, n=15, seed=31)
    refused = client.post("/v1/batches", json={"n": 6, "seed": 32})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 86_401
    assert "20 samples a day" in refused.json()["detail"]
    assert file(client, n=15, seed=31)["from_store"]  # costs nothing
    file(client, n=5, seed=33)
    assert client.get("/v1/batches").json()["total"] == 3
