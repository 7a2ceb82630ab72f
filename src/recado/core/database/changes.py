"""Who is told of a commit of this process: by topic, with the owner whose rows were changed."""

import threading
from collections.abc import Callable
from typing import Literal, TypeAlias
from uuid import UUID

Topic: TypeAlias = Literal["events"]
Listener: TypeAlias = Callable[[UUID], None]


class Changes:
    """Calls listeners after a commit, from the writer's thread. They must be quick and must not raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[Topic, tuple[Listener, ...]] = {}

    def subscribe(self, topic: Topic, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each commit that tells of the topic. Return the function that ends that."""
        with self._lock:
            self._listeners[topic] = (*self._listeners.get(topic, ()), listener)

        def unsubscribe() -> None:
            with self._lock:
                left = (each for each in self._listeners[topic] if each is not listener)
                self._listeners[topic] = tuple(left)

        return unsubscribe

    def tell(self, topic: Topic, owner: UUID) -> None:
        """Call the listeners of a topic."""
        for listener in self._listeners.get(topic, ()):
            listener(owner)
