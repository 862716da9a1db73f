"""A word is said once, in order, and only when it has stopped changing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.engines.agreement import Agreement
from proxy.engines.transcript import Word, join


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(word, start=float(at), end=at + 1.0) for at, word in enumerate(text.split()))


def test_a_word_is_confirmed_when_the_last_hypotheses_agree_on_it() -> None:
    agreement = Agreement(window=3)
    said = [join(agreement.feed(words(text))) for text in ("go", "golf", "go for", "go for", "go forward", "go")]
    assert said == ["", "", "", "", "go", ""]
    assert join(agreement.close(words("go forward ten"))) == "forward ten"


def test_hypotheses_that_disagree_confirm_nothing() -> None:
    agreement = Agreement(window=2)
    assert not agreement.feed(words("to me"))
    assert not agreement.feed(words("ten meters"))


def test_a_final_hypothesis_cannot_take_back_what_was_said() -> None:
    agreement = Agreement(window=2)
    agreement.feed(words("go golf"))
    assert join(agreement.feed(words("go golf"))) == "go golf"
    assert join(agreement.close(words("go forward ten meters"))) == "ten meters"


def test_without_any_hypothesis_the_final_one_is_said_whole() -> None:
    assert join(Agreement(window=5).close(words("turn left"))) == "turn left"


hypotheses = st.lists(st.lists(st.sampled_from("abc"), max_size=5), max_size=12)


@given(heard=hypotheses, window=st.integers(1, 4))
def test_words_confirmed_and_then_borne_out_add_up_to_the_final_text(heard: list[list[str]], window: int) -> None:
    agreement = Agreement(window)
    said: list[Word] = []
    for hypothesis in heard:
        said += agreement.feed(words(" ".join(hypothesis)))
    final = (*said, *words("x y"))
    said += agreement.close(final)
    assert join(said) == join(final)
