"""The providers of the container.

The routes of the API and the worker of a tick are built in threads while the event loop may build other parts. So each
part is built under one lock: a plain singleton that two threads ask for at one moment is made twice, and what listens
to one of the two hears nothing of the other.
"""

from recado.core.container import providers

Dependency = providers.Dependency
Object = providers.Object
Singleton = providers.ThreadSafeSingleton
