"""A private server, a mount of it and a short tour: `./dev demo`."""
