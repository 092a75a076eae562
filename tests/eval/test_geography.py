"""Countries, regions and incomes of pictures."""

from collections import Counter

import pytest

from opensam.eval.geography import INCOMES, PAPER_SHARES, REGIONS, countries, find_country, read_geography

CHANNEL_ISLANDS = {"GGY", "JEY"}  # one economy of the World Bank, without a code of ISO


def write(path, *lines, header="image,country"):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_regions_and_incomes_have_as_many_countries_as_in_the_paper():
    table = countries()
    regions = Counter(country.region for country in table if country.alpha3 not in CHANNEL_ISLANDS)
    assert [regions[region] for region in REGIONS] == [54, 70, 47, 42, 4]
    incomes = Counter(country.income for country in table)
    assert [incomes[income] for income in INCOMES] == [81 + 1, 108, 28]
    assert [country.name for country in table if not country.income] == ["Venezuela"]
    assert set(regions) == set(REGIONS)


def test_every_code_and_name_leads_to_its_country():
    table = countries()
    assert len({name for country in table for name in country[:3]}) == 3 * len(table)
    assert all(find_country(name) == country for country in table for name in country[:3])
    assert all(len(country.alpha3) == 3 and len(country.alpha2) == 2 for country in table)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Côte d’Ivoire", "CIV"),
        ("ivory coast", "CIV"),
        ("Türkiye", "TUR"),
        ("Turkey", "TUR"),
        ("St. Lucia", "LCA"),
        ("UK", "GBR"),
        ("usa", "USA"),
        ("Viet  Nam", "VNM"),
        ("Bosnia & Herzegovina", "BIH"),
        ("GE", "GEO"),
    ],
)
def test_common_spellings_are_understood(text, code):
    assert find_country(text).alpha3 == code


def test_images_are_counted_and_what_is_unknown_is_listed(tmp_path):
    file = write(
        tmp_path / "a.csv", "1,KE", "2,Kenya", "3,DEU", "4,Brazil", "5,", "6,Atlantis", "7,VEN", "8,Atlantis", "9,ETH"
    )
    found = read_geography(file)
    assert found.images == 9
    assert next(iter(found.countries.items())) == ("KEN", 2)
    assert found.countries == {"KEN": 2, "BRA": 1, "DEU": 1, "ETH": 1, "VEN": 1}
    assert list(found.regions.values()) == [3, 0, 1, 2, 0]
    assert found.incomes == {"high": 1, "middle": 3, "low": 1}
    assert (found.unplaced, found.without_income) == (1, 1)
    assert found.unknown == {"Atlantis": [7, 9]}
    assert found.shares["Africa"] == pytest.approx(50)
    assert found.shares["middle"] == pytest.approx(60)
    assert list(found.shares) == list(PAPER_SHARES)


def test_shares_of_the_paper_add_up():
    for names in (REGIONS, INCOMES):
        for column in zip(*(PAPER_SHARES[name] for name in names), strict=True):
            assert sum(column) == pytest.approx(100, abs=0.2)


def test_without_a_known_country_all_shares_are_none(tmp_path):
    assert set(read_geography(write(tmp_path / "a.csv", "1,")).shares.values()) == {0}


def test_an_image_that_comes_twice_is_refused_with_its_lines(tmp_path):
    with pytest.raises(ValueError, match=r"got 1 in lines 2 and 4 of .*a.csv"):
        read_geography(write(tmp_path / "a.csv", "1,KE", "2,KE", "1,DE"))
    two = write(tmp_path / "b.csv", "a,1,KE", "b,1,DE", header="dataset,image,country")
    assert read_geography(two).images == 2


def test_an_image_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name of an image in .*a.csv line 2"):
        read_geography(write(tmp_path / "a.csv", ",KE"))
