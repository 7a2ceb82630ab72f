"""Kills our processes under load for as long as one likes, and then asks whether anybody was forgotten or told twice.

    python -m tests.chaos.torture --cycles 20 --seed 7

Everything is real: the API, two workers, the emulator of Twilio and a server that speaks as a model does are processes
of their own. The emulator's journal is the truth: which webhooks were answered 200, and what customers received. The
product's database is only believed where that journal agrees with it.

    scene       the installation: owners, settings, what every process is started with
    servers     the database and the broker, where they are servers of their own
    processes   starting, killing and reviving them
    model       the scripted model server (a process with a journal of its own)
    load        customers who write in bursts, and a Twilio that repeats what got no 200
    pace        how fast this machine can follow
    blows       what is done to which process, and when
    leases      who held which job when its worker was killed, and when it was taken up again
    ledger      what the database says
    beside      several runs side by side
    oracle      journals against ledger: lost, answered twice, stuck
    report      the table
    run         one torture from beginning to end
"""
