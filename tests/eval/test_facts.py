import re
import subprocess

from opensam.eval.facts import commit_of, run_facts


def test_facts_name_a_commit_or_none_and_every_version():
    facts = run_facts(device="cpu", seed=0)
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", facts["commit"])
    assert facts["versions"]["numpy"]
    assert facts["device"] == "cpu"
    assert facts["machine"]["processor"]


def test_the_commit_is_of_the_checkout_that_tracks_the_file(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    tracked, installed = tmp_path / "tracked.py", tmp_path / "installed.py"
    tracked.write_text("1")
    installed.write_text("1")
    assert commit_of(tracked) is None
    git("init", "-q")
    git("add", "tracked.py")
    git("commit", "-q", "-m", "one")
    git("tag", "v1")
    head = git("rev-parse", "HEAD")
    assert commit_of(tracked) == head
    assert commit_of(installed) is None
    tracked.write_text("2")
    assert commit_of(tracked) == f"{head}-dirty"
