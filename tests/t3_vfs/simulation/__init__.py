"""A mount, a server and a network in one virtual clock, and what must be true of them."""
