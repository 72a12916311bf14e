//! Benchmarks live beside this file, one for each layer.
