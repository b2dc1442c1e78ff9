"""The session: both sides keep the same state over whatever is allowed, and what isn't changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.errors import Malformed
from shared.messages import (
    Cancel,
    Challenge,
    Checked,
    Credit,
    Documents,
    Drain,
    FromDelegate,
    FromManager,
    Heartbeat,
    Hello,
    Message,
    Need,
    NewCertificate,
    Output,
    Probe,
    Progress,
    Result,
    Task,
    Use,
    Welcome,
)
from shared.session import MOST_CREDITS, TABLE, Phase, Session, Side

CHALLENGE = Challenge(b"n" * 32)
HELLO = Hello("certificate", b"proof", "https://m", "1", ("Local",), (1,), 4)
WELCOME = Welcome(2000, 5000, 0)
OF_MANAGER = frozenset(FromManager.__args__)
OF_DELEGATE = frozenset(FromDelegate.__args__)

NAMES = st.sampled_from(["a", "b", "c"])
ATTEMPTS = st.integers(1, 2)
USES = st.one_of(st.none(), st.builds(Use, st.integers(0, 100), st.just(80), st.booleans()))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.just(CHALLENGE),
    st.just(HELLO),
    st.just(WELCOME),
    st.just(Heartbeat()),
    st.builds(Heartbeat, st.integers(0, 3), USES, USES),
    st.just(Documents(("compact",))),
    st.builds(Task, NAMES, ATTEMPTS, st.just("document")),
    st.builds(Cancel, NAMES, ATTEMPTS),
    st.just(Probe(("digest",))),
    st.just(Drain()),
    st.builds(Credit, st.sampled_from([0, 1, 2, MOST_CREDITS - 1, MOST_CREDITS, MOST_CREDITS + 1, -1])),
    st.builds(Result, NAMES, ATTEMPTS, st.just("answer")),
    st.builds(Progress, NAMES, ATTEMPTS, st.just(0), st.just(1)),
    st.builds(Output, NAMES, ATTEMPTS, st.integers(0, 2), st.just(b"data")),
    st.just(Checked("document")),
    st.builds(Need, NAMES, ATTEMPTS, st.just(())),
    st.just(NewCertificate("certificate")),
)


def state(session: Session) -> tuple[object, ...]:
    """All that a session knows."""
    return session.phase, session.credits, dict(session.outstanding), session.heartbeat


class Model:
    """The conversation by the rules' words, kept apart from the code."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.granted = 0
        self.used = 0
        self.running: dict[str, int] = {}
        self.over = False

    def allows(self, speaker: Side, message: Message) -> bool:
        """Whether `speaker` may say that now."""
        name = type(message).__name__
        opening = ["Challenge", "Hello", "Welcome"]
        if type(message) not in (OF_MANAGER if speaker is Side.MANAGER else OF_DELEGATE):
            return False
        if len(self.said) < 3:
            return name == opening[len(self.said)]
        if name in opening:
            return False
        match message:
            case Task():
                return self.granted > self.used and message.id not in self.running
            case Credit():
                return message.tasks > 0 and self.granted - self.used + message.tasks <= MOST_CREDITS
            case Result() | Need() | Progress() | Output():
                return self.running.get(message.id) == message.attempt
        return True

    def takes(self, speaker: Side, message: Message) -> None:
        """What an allowed message changes."""
        if len(self.said) < 3:
            self.said.append(type(message).__name__)
        match message:
            case Task():
                self.used += 1
                self.running[message.id] = message.attempt
            case Credit():
                self.granted += message.tasks
            case Result() | Need():
                del self.running[message.id]
            case Heartbeat() if speaker is Side.DELEGATE:
                self.over = any(use is not None and use.over for use in (message.cpu, message.memory))


class Conversation(RuleBasedStateMachine):
    """Two sides of one stream, each with a session of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.manager, self.delegate = Session(), Session()
        self.model = Model()

    @initialize(greeted=st.booleans())
    def begin(self, greeted: bool) -> None:
        """Most of what can go wrong comes after the greeting."""
        if greeted:
            for speaker, message in ((Side.MANAGER, CHALLENGE), (Side.DELEGATE, HELLO), (Side.MANAGER, WELCOME)):
                self.say(speaker, message)
            self.say(Side.DELEGATE, Credit(2))

    @rule(speaker=st.sampled_from(Side), message=MESSAGES)
    def say(self, speaker: Side, message: Message) -> None:
        """One side says something; both take note of it, or both refuse it and are as before."""
        allowed = self.model.allows(speaker, message)
        for session in (self.manager, self.delegate):
            before = copy.deepcopy(state(session))
            if allowed:
                session.record(speaker, message)
            else:
                with pytest.raises(Malformed) as caught:
                    session.record(speaker, message)
                assert caught.value.code == "protocol_violation"
                assert state(session) == before
        if allowed:
            self.model.takes(speaker, message)

    @rule(tasks=st.integers(1, 3))
    def give_credit(self, tasks: int) -> None:
        """Else tasks are too rare."""
        self.say(Side.DELEGATE, Credit(tasks))

    @rule(id=NAMES)
    def send_a_task(self, id: str) -> None:
        """The manager sends a task, allowed or not."""
        self.say(Side.MANAGER, Task(id, 1, "document"))

    @rule(data=st.data(), of=st.sampled_from([Result, Need, Progress, Output]))
    def speak_of_a_task(self, data: st.DataObject, of: Callable[..., Message]) -> None:
        """The delegate speaks of a task that it has."""
        if self.model.running:
            id = data.draw(st.sampled_from(sorted(self.model.running)))
            rest: dict[object, tuple[object, ...]] = {Result: ("answer",), Progress: (0, 1), Output: (0, b"")}
            self.say(Side.DELEGATE, of(id, self.model.running[id], *rest.get(of, ((),))))

    @invariant()
    def both_know_the_same(self) -> None:
        """The two sides agree, also with the model."""
        assert state(self.manager) == state(self.delegate)
        assert self.manager.credits == self.model.granted - self.model.used
        assert self.manager.outstanding == self.model.running
        assert 0 <= self.manager.credits <= MOST_CREDITS

    @invariant()
    def tasks_are_sent_with_credit_and_while_open(self) -> None:
        """What `takes_tasks` promises."""
        wanted = self.manager.phase is Phase.OPEN and self.manager.credits > 0 and not self.model.over
        assert self.manager.takes_tasks == wanted


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestConversation = Conversation.TestCase


def an_open_session() -> Session:
    """After the greeting."""
    session = Session()
    session.record(Side.MANAGER, CHALLENGE)
    session.record(Side.DELEGATE, HELLO)
    session.record(Side.MANAGER, WELCOME)
    return session


def test_the_table_has_each_message_of_each_side_and_no_way_back() -> None:
    order = list(Phase)
    assert {message for _, side, message in TABLE if side is Side.MANAGER} == OF_MANAGER
    assert {message for _, side, message in TABLE if side is Side.DELEGATE} == OF_DELEGATE
    assert all(order.index(after) >= order.index(before) for (before, _, _), after in TABLE.items())


@pytest.mark.parametrize("side", Side)
def test_either_side_drains_and_running_tasks_end(side: Side) -> None:
    session = an_open_session()
    session.record(Side.DELEGATE, Credit(2))
    session.record(Side.MANAGER, Task("a", 1, "document"))
    assert session.takes_tasks
    session.record(side, Drain())
    assert not session.takes_tasks
    session.record(Side.DELEGATE, Result("a", 1, "answer"))
    assert session.outstanding == {}


def test_a_task_may_cross_the_drain_on_its_way() -> None:
    session = an_open_session()
    session.record(Side.DELEGATE, Credit(1))
    session.record(Side.DELEGATE, Drain())
    session.record(Side.MANAGER, Task("a", 1, "document"))
    assert session.outstanding == {"a": 1}


def test_a_task_that_needs_documents_is_sent_again_with_a_new_credit() -> None:
    session = an_open_session()
    session.record(Side.DELEGATE, Credit(1))
    session.record(Side.MANAGER, Task("a", 1, "document"))
    session.record(Side.DELEGATE, Need("a", 1, ("digest",)))
    with pytest.raises(Malformed):
        session.record(Side.MANAGER, Task("a", 1, "document"))
    session.record(Side.DELEGATE, Credit(1))
    session.record(Side.MANAGER, Task("a", 1, "document"))
    assert session.outstanding == {"a": 1}


@pytest.mark.parametrize("tasks", [0, -1, MOST_CREDITS + 1])
def test_no_credit_and_more_than_all_of_it_are_refused(tasks: int) -> None:
    session = an_open_session()
    with pytest.raises(Malformed) as why:
        session.record(Side.DELEGATE, Credit(tasks))
    assert why.value.code == "protocol_violation"
    session.record(Side.DELEGATE, Credit(MOST_CREDITS))
    with pytest.raises(Malformed):
        session.record(Side.DELEGATE, Credit(1))
    assert session.credits == MOST_CREDITS


def test_progress_is_of_a_task_that_the_delegate_has() -> None:
    session = an_open_session()
    session.record(Side.DELEGATE, Credit(1))
    session.record(Side.MANAGER, Task("a", 1, "document"))
    session.record(Side.DELEGATE, Progress("a", 1, 1, 2))
    assert session.outstanding == {"a": 1}
    session.record(Side.DELEGATE, Output("a", 1, 0, b"sealed key", "opening"))
    for wrong in (
        Progress("b", 1, 1, 2),
        Progress("a", 2, 1, 2),
        Output("b", 1, 0, b""),
        Output("a", 2, 0, b""),
        Result("b", 1, "answer"),
        Need("a", 2, ()),
    ):
        with pytest.raises(Malformed) as why:
            session.record(Side.DELEGATE, wrong)
        assert why.value.code == "protocol_violation"
    assert session.outstanding == {"a": 1}


def test_a_watcher_is_told_of_whatever_changes_who_may_be_sent_a_task_and_of_nothing_else() -> None:
    session = an_open_session()
    told: list[tuple[bool, int]] = []
    session.watcher = lambda: told.append((session.takes_tasks, len(session.outstanding)))
    for side, message in (
        (Side.DELEGATE, Credit(1)),
        (Side.DELEGATE, Heartbeat()),
        (Side.MANAGER, Task("a", 1, "document")),
        (Side.DELEGATE, Progress("a", 1, 1, 2)),
        (Side.DELEGATE, Result("a", 1, "answer")),
        (Side.DELEGATE, Drain()),
        (Side.MANAGER, Heartbeat()),
    ):
        session.record(side, message)
    assert told == [(True, 0), (False, 1), (False, 0), (False, 0)]


@pytest.mark.parametrize(
    "over", [Heartbeat(1, cpu=Use(95, 80, True)), Heartbeat(1, Use(5, 80, False), Use(95, 80, True))]
)
def test_a_delegate_that_says_it_is_over_a_limit_takes_no_tasks_until_it_says_otherwise(over: Heartbeat) -> None:
    session = an_open_session()
    session.record(Side.DELEGATE, Credit(2))
    session.record(Side.DELEGATE, over)
    assert not session.takes_tasks
    # One that was on its way already has its place all the same.
    session.record(Side.MANAGER, Task("a", 1, "document"))
    # The manager's own says nothing about it.
    session.record(Side.MANAGER, Heartbeat())
    assert not session.takes_tasks
    session.record(Side.DELEGATE, Heartbeat(1, Use(70, 80, False), Use(70, 80, False)))
    assert session.takes_tasks
