"""The accounts of operators' orders: what must be noticed, and what is fine."""

import pytest

from orders import Orders, Violation

A, B, C = ("1", "a"), ("1", "b"), ("2", "c")
LIFE = 3


class Left:
    """What a dead server has left: pair -> status; "returning" is one that waits."""

    def __init__(self, **statuses):
        self._statuses = {pair: statuses[name] for name, pair in
                          (("a", A), ("b", B), ("c", C)) if name in statuses}
        self.recipients = {}
        for (message_id, recipient), status in self._statuses.items():
            self.recipients.setdefault(message_id, {})[recipient] = status

    def status(self, *pair):
        return self._statuses.get(pair)

    def is_waiting(self, *pair):
        return self.status(*pair) in ("queued", "deferred", "held", "returning")

    def is_returning(self, *pair):
        return self.status(*pair) == "returning"


def ordered(kind, pairs, is_answered=True):
    orders = Orders()
    orders.end(orders.begin(kind, LIFE, pairs, False), is_answered)
    return orders


def check(orders, left, life=LIFE, arrivals=None, fated=()):
    orders.check(left, life, arrivals or {}, lambda pair: pair in fated)


GOOD = {
    "deleted": ("delete", True, {"a": "deleted"}, {}),
    "gone": ("delete", True, {}, {}),
    "deleted while it was on its way": ("delete", True, {}, {A: [LIFE]}),
    "returning": ("bounce", True, {"a": "returning", "b": "returning"}, {}),
    "held": ("hold", True, {"a": "held"}, {A: [LIFE]}),
    "cut off, and done": ("delete", False, {"a": "deleted", "b": "deleted"}, {}),
    "cut off, and not done": ("delete", False, {"a": "queued", "b": "deferred"}, {}),
    "cut off, and not done; one has arrived": ("delete", False, {"b": "deferred"}, {A: [LIFE]}),
    "cut off and late": ("bounce", False, {"a": "queued", "b": "queued"}, {A: [LIFE + 1]}),
}
BAD = {
    "not deleted": ("delete", True, {"a": "queued"}, {}),
    "deleted, and arrives": ("delete", True, {}, {A: [LIFE + 1]}),
    "returned, and arrives": ("bounce", True, {}, {A: [LIFE, LIFE + 1]}),
    "held, and arrives": ("hold", True, {"a": "held"}, {A: [LIFE + 1]}),
    "not held": ("hold", True, {"a": "deferred"}, {}),
    "half deleted": ("delete", False, {"a": "queued"}, {}),
    "half returning": ("bounce", False, {"a": "queued", "b": "returning"}, {}),
    "another is deleted": ("delete", True, {"c": "deleted"}, {}),
    "another is returning": ("bounce", True, {"c": "returning"}, {}),
}


@pytest.mark.parametrize("case", GOOD)
def test_good(case):
    kind, is_answered, left, arrivals = GOOD[case]
    check(ordered(kind, [A, B], is_answered), Left(**left), LIFE, arrivals, arrivals)


@pytest.mark.parametrize("case", BAD)
def test_bad(case):
    kind, is_answered, left, arrivals = BAD[case]
    with pytest.raises(Violation):
        check(ordered(kind, [A, B], is_answered), Left(**left), LIFE, arrivals, arrivals)


@pytest.mark.parametrize("kind", ("release", "bounce"))
@pytest.mark.parametrize("is_for_all", (True, False))
def test_released(kind, is_for_all):
    orders = ordered("hold", [A])
    orders.begin(kind, LIFE, [A], is_for_all)
    check(orders, Left(a="deferred"), LIFE + 1, {A: [LIFE + 1]})


def test_notification_of_what_was_deleted():
    orders = ordered("delete", [A])
    assert orders.may_be_returned(A, LIFE, "9")  # made before, perhaps
    check(orders, Left(c="queued"))
    assert orders.may_be_returned(A, LIFE + 1, "2")
    assert not orders.may_be_returned(A, LIFE + 1, "9")
