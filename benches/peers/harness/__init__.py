"""The parts of `benches/peers/run`; each module says what it owns."""
