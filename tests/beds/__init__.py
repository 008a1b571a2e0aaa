"""What tests, the demo and the benchmarks run against: real servers and real mounts."""
