"""Where city files come from: folder, cache, download."""

import functools
import hashlib
import http.server
import json
import threading

import pytest
from ohio_envs import files, registry

from ohio_jax.errors import UserError
from tests.ohio_envs.cities import tiny_content

NAME = "scenario_nyc_brooklyn.json"
CONTENT = b'{"a": 1}'


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    folder, cache = tmp_path / "data", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    monkeypatch.setenv("OHIO_DATA", str(folder))
    monkeypatch.setattr(files, "cache", lambda: cache)
    return folder, cache


def test_folder_comes_before_cache(places):
    folder, cache = places
    (cache / NAME).write_bytes(CONTENT)
    assert files.locate(NAME) == cache / NAME
    (folder / NAME).write_bytes(CONTENT)
    assert files.locate(NAME) == folder / NAME
    assert files.locate("routing-nyc") == folder / NAME


@pytest.mark.parametrize("folder", [None, "", "/nowhere/at/all"])
def test_missing_file_says_the_three_ways_on(places, monkeypatch, folder):
    if folder is None:
        monkeypatch.delenv("OHIO_DATA")
    else:
        monkeypatch.setenv("OHIO_DATA", folder)
    with pytest.raises(UserError, match=r"OHIO_DATA.*ohio-jax data fetch.*routing-synthetic") as error:
        files.locate(NAME)
    assert NAME in str(error.value)


def test_unknown_file(places):
    with pytest.raises(UserError, match=r"unknown city file 'mars\.json': expected one of"):
        files.locate("mars.json")


def test_list_needs_no_file(places):
    folder, _ = places
    (folder / NAME).write_bytes(CONTENT)
    listed = {file.name: file.path for file in files.list_files()}
    assert listed == {NAME: folder / NAME, "scenario_shenzhen_downtown_west.json": None}


def test_verify_names_a_wrong_checksum(places):
    folder, _ = places
    assert [file.path for file in files.verify()] == [None, None]
    (folder / NAME).write_bytes(CONTENT)
    found = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(UserError, match=f"{NAME}: expected SHA-256 {files.SHA256[NAME]}, found {found}"):
        files.verify()


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP on this machine: (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_fetch_takes_the_first_mirror_with_the_right_content(places, server, monkeypatch):
    _, cache = places
    served, address = server
    for mirror, content in (("wrong", b"other"), ("right", CONTENT)):
        (served / mirror).mkdir()
        (served / mirror / NAME).write_bytes(content)
    monkeypatch.setattr(files, "SHA256", {NAME: hashlib.sha256(CONTENT).hexdigest()})
    monkeypatch.setattr(files, "MIRRORS", tuple(f"{address}{mirror}/" for mirror in ("absent", "wrong", "right")))
    fetched = files.fetch()
    assert [file.path for file in fetched] == [cache / NAME] and (cache / NAME).read_bytes() == CONTENT
    (served / "right" / NAME).unlink()
    assert files.fetch() == fetched == files.verify()  # what is there is not downloaded again


def test_fetch_says_what_every_mirror_answered(places, server, monkeypatch):
    _, cache = places
    _, address = server
    monkeypatch.setattr(files, "MIRRORS", (address + "a/", address + "b/"))
    with pytest.raises(UserError, match=r"/a/: 404 .*/b/: 404 ") as error:
        files.fetch()
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_an_altered_city_is_no_published_one(places, monkeypatch, command):
    """Neither task nor command takes another content under the published name; with the right digest it is read."""
    folder, _ = places
    text = json.dumps(tiny_content()).encode()
    (folder / NAME).write_bytes(text)
    found = hashlib.sha256(text).hexdigest()
    expected = f"{folder / NAME}: expected SHA-256 {files.SHA256[NAME]}, found {found}"
    code, out, err = command("evaluate routing-nyc --policy none --episodes 1")
    assert (code, out, err) == (2, "", f"ohio-jax evaluate: {expected}\n")
    monkeypatch.setitem(files.SHA256, NAME, found)
    with pytest.raises(UserError, match="horizon: expected at most"):  # read, and found too short for an evening
        registry.make("routing-nyc")


def test_what_is_no_file_is_not_read(tmp_path):
    with pytest.raises(UserError, match="expected a readable file, found a folder"):
        files.content(tmp_path)
