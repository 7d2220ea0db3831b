//! Any bytes as an HTTP/1.1 body: see `brownout::http1::invariants`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brownout::http1::invariants::body(bytes));
