"""The HTTP server: the socket, the connections and their limits, one request and its answer."""
