"""The real code in a world that is made up: one seed decides what happens, and when.

    python -m tests.chaos.simulator --seeds 200        # as many worlds
    python -m tests.chaos.simulator --seed 17 --trace  # one of them again, told event by event

Time is virtual, so a day costs what happens in it; processes are tasks that can be killed at any await and at either
side of a commit; Twilio, the agents, the customers and the people are played, and lie as the seed says. What customers
received is known from the played Twilio, not from our database, and that is what the promise is measured by.
"""
