"""What an owner has used: messages, runs of agents and their tokens, by day and by month."""
