"""How HTTP comes in: the socket, the connections and what they may cost, one request and its answer."""
