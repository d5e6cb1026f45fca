//! Any text is a configuration file as far as it can be read; errors name a line of it, and values keep to their bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The files alone: the crate around them brings all of the agent, which would take minutes to build.
#[allow(dead_code)]
#[path = "../../crates/agent/src/config/value.rs"]
mod value;
#[allow(dead_code)]
#[path = "../../crates/agent/src/config/yaml.rs"]
mod yaml;

fuzz_target!(|text: &str| {
    // All that may end a line, and the end of the text, which the parser takes for a line of its own.
    let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
    let entries = match yaml::parse(text) {
        Ok(entries) => entries,
        Err(error) => {
            assert!(error.line <= lines, "{error}");
            return;
        }
    };
    for (number, entry) in entries.iter().enumerate() {
        assert!(entry.line <= lines);
        assert!(entries[..number].iter().all(|other| other.key != entry.key), "{} twice", entry.key);
        if let Ok(number) = value::number(&entry.value, -5, 100_000) {
            assert!((-5..=100_000).contains(&number));
        }
        if let Ok(mode) = value::octal(&entry.value) {
            assert!(mode <= 0o7777, "{mode:o}");
        }
        let _ = (value::size(&entry.value), value::duration(&entry.value), value::switch(&entry.value));
        assert!(value::list(&entry.value).iter().all(|item| item.trim() == item && !item.is_empty()));
    }
});
