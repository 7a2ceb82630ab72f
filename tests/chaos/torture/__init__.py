"""Kills our processes under load for as long as one likes, and then checks that nobody was forgotten or answered twice.

    python -m tests.chaos.torture --cycles 20 --seed 7

Everything is real: the API, two workers, the emulator of Twilio and a server that speaks as a model does are processes
of their own. The emulator's journal is the truth: which webhooks were answered 200, and what customers received. The
product's database is only believed where that journal agrees with it.

    installation  owners, settings, what every process is started with
    servers       the database and the broker, where they are servers of their own
    processes     starting, killing and reviving them
    faults        what is done to which process, and when
    pace          how fast this machine can follow
    telling       the shops' own programs, which are told what happens (`--events`)
    parallel      several runs side by side
    run           one torture from beginning to end
    outside/      customers, the model server, a person who gives conversations back; an endpoint and readers of events
    judging/      leases, the database, journals against it, events, and the report
"""
