//! What must hold for any bytes at all; run by the fuzzers and by `cargo test` over the corpora.
