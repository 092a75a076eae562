"""Where pictures come from: per country, region of the world and income of the country (paper, section 6, table 1).

What it takes is a CSV with a country per picture. It does not look at pictures, and does not turn coordinates or
captions into countries: the paper read captions, for which a gazetteer or a language model is needed.

The table of countries beside this file is written by hand. Regions are those of the UN's M49 standard, with Asia and
Oceania as one and Northern America apart; incomes those of the World Bank for its fiscal year 2023 (from July 2022),
the list in force when the paper was written. The economies and groups are as many as in the paper's table 1. Guernsey
and Jersey are one economy there (Channel Islands), and Venezuela has no income group.
"""

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from opensam.eval.report import Cell, Table
from opensam.eval.rows import read_rows

REGIONS = ("Africa", "Asia & Oceania", "Europe", "Latin America & Caribbean", "North America")
INCOMES = ("high", "middle", "low")

# Percent of images of SA-1B, COCO and Open Images (paper, table 1). Of COCO the paper knew the place of 24 % of the
# images, of Open Images 18 % (C).
PAPER_DATASETS = ("SA-1B", "COCO", "Open Images")
PAPER_SHARES: dict[str, tuple[float, float, float]] = {
    "Africa": (2.8, 3.0, 1.7),
    "Asia & Oceania": (36.2, 11.4, 14.3),
    "Europe": (49.8, 34.2, 36.2),
    "Latin America & Caribbean": (3.5, 3.1, 5.0),
    "North America": (7.7, 48.3, 42.8),
    "high": (54.0, 89.1, 87.5),
    "middle": (45.0, 10.5, 12.0),
    "low": (0.9, 0.4, 0.5),
}


class Country(NamedTuple):
    """A row of the table; income is "high", "middle", "low", or "" where the World Bank has no group."""

    alpha3: str
    alpha2: str
    name: str
    region: str
    income: str


@dataclass(frozen=True)
class Geography:
    """Where the pictures of a CSV come from.

    Attributes:
        images: lines of the CSV.
        countries: images by alpha-3 code, the most first.
        regions: images by region, all of `REGIONS`.
        incomes: images by income group, all of `INCOMES`.
        unplaced: images without a country.
        unknown: what stands for a country and is none of the table, with the lines where it does.
        without_income: images from a country that has no income group.
    """

    images: int
    countries: dict[str, int]
    regions: dict[str, int]
    incomes: dict[str, int]
    unplaced: int
    unknown: dict[str, list[int]] = field(default_factory=dict)
    without_income: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """Percent of the images whose country is known, by region; of those with an income group, by income."""
        found: dict[str, float] = {}
        for counts in (self.regions, self.incomes):
            total = sum(counts.values())
            found |= {name: 100 * count / total if total else 0.0 for name, count in counts.items()}
        return found


@cache
def countries() -> tuple[Country, ...]:
    """The table: economies of the World Bank, by alpha-3 code."""
    return tuple(country for country, _ in _table())


def find_country(text: str) -> Country | None:
    """A country by ISO 3166 code (two or three letters) or English name, whatever its case and accents."""
    return _names().get(_plain(text))


def read_geography(path: Path) -> Geography:
    """Count the pictures of a CSV with the columns `image` and `country`, and `dataset` if names come again in another.

    Raises:
        ValueError: a column is missing, or a picture comes twice; the message names the line.
    """
    table = read_rows(path, ("image", "country"))
    seen: dict[tuple[str, str], int] = {}
    found: list[Country] = []
    unknown: dict[str, list[int]] = {}
    for row in table.rows:
        picture = (row.cells.get("dataset", ""), row.cells["image"])
        if not picture[1]:
            raise ValueError(f"expected the name of an image in {table.at(row)}, got an empty cell")
        if picture in seen:
            raise ValueError(
                f"expected each image once, got {picture[1]} in lines {seen[picture]} and {row.line} of {path}"
            )
        seen[picture] = row.line
        text = row.cells["country"]
        if country := find_country(text):
            found.append(country)
        elif text:
            unknown.setdefault(text, []).append(row.line)
    regions = Counter(country.region for country in found)
    incomes = Counter(country.income for country in found)
    return Geography(
        images=len(table.rows),
        countries=dict(Counter(country.alpha3 for country in sorted(found)).most_common()),
        regions={region: regions[region] for region in REGIONS},
        incomes={income: incomes[income] for income in INCOMES},
        unplaced=len(table.rows) - len(found) - sum(map(len, unknown.values())),
        unknown=unknown,
        without_income=incomes[""],
    )


def share_tables(geography: Geography) -> tuple[Table, ...]:
    """Images by region and by income beside the paper's data sets, and by country.

    What is unknown is a row of its own, and no part of the shares.
    """
    shares = geography.shares
    heads = ("images from", "images", "countries", "%", *(f"{name}, %" for name in PAPER_DATASETS))
    places = {alpha3: next(one for one in countries() if one.alpha3 == alpha3) for alpha3 in geography.countries}
    regions, incomes = (Counter(getattr(one, kind) for one in places.values()) for kind in ("region", "income"))
    rows: list[tuple[Cell, ...]] = [
        (name, count, regions[name], shares[name], *PAPER_SHARES[name]) for name, count in geography.regions.items()
    ]
    rows += [
        (f"{name} income", count, incomes[name], shares[name], *PAPER_SHARES[name])
        for name, count in geography.incomes.items()
    ]
    unknown = sum(map(len, geography.unknown.values()))
    left = {"no income group": geography.without_income, "no country": geography.unplaced, "unknown country": unknown}
    rows += [(name, count, None, None, None, None, None) for name, count in left.items() if count]
    named = "; ".join(f"{text} (line {lines[0]})" for text, lines in sorted(geography.unknown.items()))
    note = "Shares are of the images whose country, or income group, is known. The other data sets: paper, table 1."
    by_country = tuple(
        (places[code].name, code, count, 100 * count / sum(geography.regions.values()))
        for code, count in geography.countries.items()
    )
    return (
        Table("Regions and incomes", heads, tuple(rows), 1, f"{note} Unknown countries: {named}." if named else note),
        Table("Countries", ("country", "code", "images", "%"), by_country, 1),
    )


@cache
def _table() -> tuple[tuple[Country, tuple[str, ...]], ...]:
    with resources.as_file(resources.files("opensam.eval") / "countries.csv") as path:
        rows = read_rows(path, ("alpha3", "alpha2", "name", "region", "income", "aliases")).rows
    found = []
    for cells in (row.cells for row in rows):
        income = cells["income"].split(" ")[-1]  # upper and lower middle are one, as in the paper (C)
        country = Country(cells["alpha3"], cells["alpha2"], cells["name"], cells["region"], income)
        found.append((country, tuple(filter(None, cells["aliases"].split(";")))))
    return tuple(found)


@cache
def _names() -> dict[str, Country]:
    named = ((country, (*country[:3], *aliases)) for country, aliases in _table())
    return {_plain(name): country for country, names in named for name in names}


def _plain(text: str) -> str:
    """Without case, accents and the spaces that do not matter; & is "and", Saint is "st"."""
    letters = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    words = "".join(letter for letter in letters if not unicodedata.combining(letter)).replace("&", " and ")
    return " ".join("st" if word in ("saint", "st.") else word for word in words.split())
