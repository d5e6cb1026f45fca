//! How long checking takes: `cargo run --release -p saker-policy --example timed FILE…`.

use std::time::Instant;

fn main() -> std::io::Result<()> {
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file)?;
        let start = Instant::now();
        let checked = saker_policy::check(&text);
        let checking = start.elapsed();
        let shown = saker_policy::render(&file, &text, &checked.diagnostics);
        let (told, rendering) = (checked.diagnostics.len(), start.elapsed() - checking);
        println!(
            "{file}: {} bytes, {} policies, {told} diagnostics; checked in {checking:?}, {} bytes rendered in {rendering:?}",
            text.len(),
            checked.policies.len(),
            shown.len()
        );
    }
    Ok(())
}
