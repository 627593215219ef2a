"""Names that a user gave: shown as they are where that can be, told apart where they look alike."""

from nge_jax.workdir import names


def test_what_cannot_be_shown_is_an_escape():
    assert names.printable("th\xe9 \u6f22 \U0001f375 a b") == "th\xe9 \u6f22 \U0001f375 a b"
    assert names.printable("caf\udce9") == r"caf\xe9"  # Latin-1 on a disk
    assert names.printable("a\x1b[1m\n\u2028\ud800") == r"a\x1b[1m\n\u2028\ud800"
    names.printable("".join(map(chr, range(0x11000)))).encode("utf-8")


def test_names_are_listed_and_shortened():
    assert names.listed(["a", "b"]) == "a, b" and names.listed([]) == ""
    assert names.listed([*"abcdefghij"]) == "a, b, c, d, e, f, g, h and 2 more"
    assert names.shortened("abcdef", 6) == "abcdef" and names.shortened("abcdefg", 6) == "abcde…"


def test_spellings_of_one_name_are_known():
    assert names.composed("cafe\u0301") == "caf\xe9" != "Caf\xe9"
    assert names.folded(" Cafe\u0301\u00a0 au  lait") == names.folded("caf\xe9 au lait")
