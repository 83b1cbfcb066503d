"""The written pages as documents: valid HTML, names for everything a screen reader meets, links that lead somewhere."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from xml.etree.ElementTree import Element

import pytest
from html5lib import HTMLParser

from tests.made_pages import DRAWN, PAGES, WARNING, all_pages, written_pages

SVG = "{http://www.w3.org/2000/svg}"
LOADING = ("link", "img", "iframe", "object", "embed", "base", "audio", "video", "source", f"{SVG}image", f"{SVG}use")


def parse(html: str) -> tuple[Element, list[str]]:
    """The document and what is wrong with its syntax."""
    parser = HTMLParser(namespaceHTMLElements=False)
    tree: Element = parser.parse(html)
    return tree, [f"line {line}: {code}" for (line, _), code, _ in parser.errors]


@cache
def page(name: str) -> Element:
    return parse(all_pages()[name])[0]


def every(tree: Element, *names: str) -> list[Element]:
    """In the order of the document."""
    return [one for one in tree.iter() if one.tag in names]


def text_of(element: Element) -> str:
    return "".join(element.itertext()).strip()


def problems(html: str) -> list[str]:
    """What keeps a document from being read by everybody."""
    tree, found = parse(html)
    ids = [name for one in tree.iter() if (name := one.get("id")) is not None]
    found += [f"id {name} twice" for name, n in Counter(ids).items() if n > 1]
    found += [f"no id {name}" for name in references(tree) if name not in ids]
    levels = [int(one.tag[1]) for one in every(tree, "h1", "h2", "h3", "h4", "h5", "h6")]
    if levels[:1] != [1] or levels.count(1) != 1:
        found.append(f"not one h1 on top but {levels}")
    found += [f"h{low} follows h{high}" for high, low in pairwise(levels) if low > high + 1]
    found += ["table without caption" for one in every(tree, "table") if one.find("caption") is None]
    found += ["th without text" for one in every(tree, "th") if not text_of(one)]
    found += ["th without scope" for one in every(tree, "th") if "scope" not in one.attrib]
    found += [
        f"{one.tag} without a name" for one in named(tree) if not {"aria-label", "aria-labelledby"} & set(one.keys())
    ]
    landmarks = Counter(
        one.get("aria-label") or one.get("aria-labelledby") for one in named(tree) if one.get("role") != "img"
    )
    found += [f"two regions named {name}" for name, n in landmarks.items() if name and n > 1]
    found += [f"{one.tag} without text" for one in every(tree, "a", "button", "summary", "title") if not text_of(one)]
    found += [f"not one {name}" for name in ("main", "header", "title") if len(every(tree, name)) != 1]
    return found if tree.get("lang") else [*found, "no language"]


def named(tree: Element) -> Iterator[Element]:
    """What must have a name that a screen reader says."""
    for one in tree.iter():
        if one.tag in ("nav", "section") or one.get("role") in ("img", "region"):
            yield one


def references(tree: Element) -> Iterator[str]:
    """Ids that a document says it has."""
    for one in tree.iter():
        if one.get("href", "").startswith("#"):
            yield one.get("href", "")[1:]
        for attribute in ("aria-labelledby", "aria-describedby", "aria-controls"):
            yield from one.get(attribute, "").split()


def test_the_made_store_has_a_page_of_every_kind() -> None:
    assert set(written_pages()) == set(PAGES)


@pytest.mark.parametrize("name", PAGES + DRAWN)
def test_every_page_is_valid_and_named(name: str) -> None:
    assert problems(all_pages()[name]) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_lists_its_sections_and_links_to_what_was_written(name: str) -> None:
    (contents,) = every(page(name), "nav")
    listed = [(link.get("href"), text_of(link)) for link in every(contents, "a")]
    assert listed == [(f"#{one.get('id')}", text_of(one)) for one in every(page(name), "h2")]
    assert len(listed) > 1
    for link in every(page(name), "a"):
        target = link.get("href", "").partition("#")[0]
        assert not target or posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) in PAGES, target


@pytest.mark.parametrize("name", PAGES + DRAWN)
def test_a_page_may_load_nothing(name: str) -> None:
    (policy,) = [one for one in every(page(name), "meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.get("content", "").startswith("default-src 'none'; ")
    assert not every(page(name), *LOADING)
    assert not [one for one in page(name).iter() if {"src", "srcset"} & set(one.keys())]
    assert not [
        one for one in page(name).iter() if "url(" in one.get("style", "") + (one.text or "") * (one.tag == "style")
    ]


def test_what_comes_from_a_store_is_escaped() -> None:
    content = written_pages()["toy/index.html"]
    assert "nan &amp; &lt;more&gt; in epoch 3" in content
    assert WARNING in content


GOOD = (
    "<!doctype html><html lang=en><title>t</title><body><header><h1>a</h1><nav aria-label=n></nav></header>"
    "<main>{}</main></body></html>"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<h2 id=x>b</h2><p><a href=#x>b</a></p>", ""),
        ("<p><div></div></p>", "line 1: unexpected-end-tag"),
        ("<table><caption>c</caption><tr><td></tr><div>out</div></table>", "table-voodoo"),
        ("<p class=a class=b>", "duplicate-attribute"),
        ("<i id=x></i><i id=x></i>", "id x twice"),
        ("<a href=#nowhere>b</a>", "no id nowhere"),
        ("<h3>b</h3>", "h3 follows h1"),
        ("<h1>b</h1>", "not one h1"),
        ("<table><tr><th scope=row>b</table>", "table without caption"),
        ("<table><caption>c</caption><tr><th>b</table>", "th without scope"),
        ("<table><caption>c</caption><tr><th scope=row></table>", "th without text"),
        ("<section>b</section>", "section without a name"),
        ("<section aria-label=x></section><div role=region aria-label=x></div>", "two regions named x"),
        ("<svg role=img></svg>", "svg without a name"),
        ("<button></button>", "button without text"),
    ],
)
def test_a_flaw_is_found(content: str, said: str) -> None:
    found = problems(GOOD.format(content))
    assert [text for text in found if said in text] if said else not found
