//! Any text as an experiment file: it is read or refused, never with a panic, and every mistake can be shown.
#![no_main]

use brownout::model::{Overrides, parse};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // a `samples = "file"` would read files of this machine
    if text.contains("samples") {
        return;
    }
    if let Err(problems) = parse(text, Path::new("fuzz.toml"), &Overrides::default()) {
        assert!(problems.is_fatal());
        let _ = (problems.render(false), problems.to_json());
    }
});
