"""One server and one Chromium for a file of browser tests."""

import pytest
from browser import Annotator, Browser
from pictures import save


@pytest.fixture(scope="module")
def annotator(drawings, tmp_path_factory):
    """A server on a folder of the module's `drawings`; a picture named "turned" lies on its side in its file."""
    folder = tmp_path_factory.mktemp("annotate") / "pictures"
    folder.mkdir()
    for name, drawing in drawings.items():
        save(drawing, folder / (f"{name}.jpg" if name == "turned" else f"{name}.png"), turned=name == "turned")
    one = Annotator(folder, folder.parent / "home", folder.parent / "server.log")
    yield one
    assert one.stop() in (0, 130)
    assert "Traceback" not in one.log.read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("browser") / "driver.log")
    yield one
    one.close()


@pytest.fixture(scope="module")
def play(request, browser, annotator, tmp_path_factory):
    """Plays a scenario, of the file of web/e2e that the module names in `SCENARIOS`, on the picture of its name."""
    folder = tmp_path_factory.mktemp("screens")

    def run(scenario: str, picture: str, handlers=None, **arguments):
        arguments = {"url": annotator.url, "name": picture, "folder": str(folder), **arguments}
        return browser.run(f"{request.module.SCENARIOS}.{scenario}", handlers, **arguments)

    return run
