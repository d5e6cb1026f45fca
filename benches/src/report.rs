//! Results as a table for people and as JSON for everything else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Figures by row and column.
#[derive(Debug, Default)]
pub struct Report {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    facts: Vec<(String, Value)>,
}

impl Report {
    /// Without rows yet.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, ..Self::default() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, cells: Vec<String>) {
        self.rows.push((name.to_owned(), cells));
    }

    /// Adds a figure to the JSON form only.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.push((name.to_owned(), value.into()));
    }

    /// Prints the table and writes the JSON form.
    pub fn publish(&self, out: Option<&Path>) -> Result<()> {
        println!("{}\n", self.title);
        println!("| |{}|", self.columns.join("|"));
        println!("|-|{}", "-|".repeat(self.columns.len()));
        for (name, cells) in &self.rows {
            println!("|{name}|{}|", cells.join("|"));
        }
        println!();
        if let Some(out) = out {
            if let Some(folder) = out.parent() {
                fs::create_dir_all(folder)?;
            }
            let text = serde_json::to_string_pretty(&self.json())?;
            fs::write(out, text + "\n").with_context(|| format!("cannot write {}", out.display()))?;
            println!("also written to {}", out.display());
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, cells)| {
            let cells = self.columns.iter().zip(cells).map(|(column, cell)| (column.clone(), json!(cell)));
            (name.clone(), Value::Object(cells.collect()))
        });
        let facts = self.facts.iter().cloned().collect();
        json!({ "title": self.title, "rows": Value::Object(rows.collect()), "figures": Value::Object(facts) })
    }
}

/// Where a report goes by default: beside the program, in the build folder.
pub fn default_out(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("benches").join(format!("{name}.json")))
}

/// 1234567 as "1,234,567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `new` against `old` in percent.
pub fn percent(new: u64, old: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let ratio = new as f64 / old.max(1) as f64;
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(percent(110, 100), "+10.0 %");
    }
}
