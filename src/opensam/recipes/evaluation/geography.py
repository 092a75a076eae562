"""Where the pictures of a data set come from."""

from dataclasses import asdict
from pathlib import Path

from opensam.config import Config
from opensam.eval.geography import read_geography, share_tables
from opensam.eval.report import Report
from opensam.files import digest_of
from opensam.recipes.evaluation.session import Session, Setting

NOTES = (
    "A share says how many pictures come from a region, not how well it is shown, and not who took them.",
    "The paper's shares are estimates too: countries read from captions for SA-1B, from Flickr for the others (C).",
)


class GeographyConfig(Config):
    """What to count.

    Attributes:
        metadata: a CSV with the columns image and country; see `opensam.eval.geography.read_geography`.
        digest: of its content.
    """

    metadata: Path
    digest: str = ""


def geography(config: GeographyConfig, setting: Setting) -> Report:
    """Count, and write the report.

    Raises:
        ValueError: the metadata cannot be used, or no country in it is known.
    """
    found = read_geography(config.metadata)
    if not found.countries:
        names = ", ".join(found.unknown) or "empty cells only"
        raise ValueError(f"expected countries by name or ISO code in {config.metadata}, got {names[:200]}")
    config = config.model_copy(update={"digest": digest_of(config.metadata)})
    session = Session(setting, "geography", config)
    results = {**asdict(found), "shares": found.shares}
    tables = share_tables(found)
    report = Report(
        "geography", "Where pictures come from", tables, results, session.config, session.facts, notes=NOTES
    )
    session.finish(report)
    return report
