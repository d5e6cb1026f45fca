//! `saker metrics`: the metrics of a running agent, whether it serves them to Prometheus or not.

use std::fmt::Write;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use regex::Regex;
use saker_agent::logging::say;
use saker_api::saker_v1::GetMetricsRequest;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use serde_json::{Map, Value, json};

use crate::client::{self, MAX_MESSAGE, ServerArgs, refused};
use crate::output::{self, Ended, Usage};
use crate::screen::ScreenArgs;

/// Arguments of `saker metrics`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 they are shown; 1 the agent cannot be reached; 2 wrong command line; 3 no metric fits"
)]
pub struct MetricsArgs {
    /// Only metrics whose names match one of these regular expressions
    names: Vec<String>,
    /// Leave out values that are 0
    #[arg(long)]
    nonzero: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    screen: ScreenArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One JSON object
    Json,
    /// As Prometheus gets them
    Prometheus,
}

/// Exit status that says that no metric fits.
const NONE: u8 = 3;

/// Asks and prints.
pub fn run(args: &MetricsArgs) -> Result<()> {
    let names: Vec<Regex> = args
        .names
        .iter()
        .map(|text| Regex::new(text).with_context(|| format!("`{text}` is no regular expression")))
        .collect::<Result<_>>()
        .map_err(Usage::of)?;
    let text = client::runtime()?.block_on(fetch(&args.server))?;
    let wanted = |name: &str| names.is_empty() || names.iter().any(|regex| regex.is_match(name));
    let samples: Vec<Sample> = samples(&text)
        .filter(|sample| wanted(&sample.name) && !(args.nonzero && sample.value.parse() == Ok(0.0)))
        .collect();
    match args.output {
        Form::Table if samples.is_empty() => {
            say("saker: there is no such metric with a value; see `saker metrics`");
        }
        Form::Json => output::print(&format!("{}\n", document(&samples)))?,
        Form::Table => args.screen.show(&table(&samples))?,
        Form::Prometheus => output::print(&filtered(&text, &wanted, args.nonzero))?,
    }
    if samples.is_empty() { Err(Ended(NONE).into()) } else { Ok(()) }
}

/// The metrics of an agent, as Prometheus gets them.
pub async fn fetch(server: &ServerArgs) -> Result<String> {
    let channel = server.connect().await?;
    let mut client = SakerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let answer = client.get_metrics(GetMetricsRequest {}).await;
    Ok(answer.map_err(|status| refused(&status))?.into_inner().text)
}

/// One value.
#[derive(Debug, PartialEq, Eq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: String,
}

/// The values of a text; lines that are none are passed over.
fn samples(text: &str) -> impl Iterator<Item = Sample> + '_ {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = Vec::new();
    let mut rest = rest;
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            inner = inner.trim_start_matches(',');
            if let Some(behind) = inner.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, quoted) = inner.split_once("=\"")?;
            let (value, behind) = unquoted(quoted)?;
            labels.push((label.to_owned(), value));
            inner = behind;
        }
    }
    let value = rest.split_whitespace().next()?;
    Some(Sample { name: name.to_owned(), labels, value: value.to_owned() })
}

/// A value up to its closing quote, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return text.get(at + 1..).map(|behind| (value, behind)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// The text with its explanations, of wanted metrics only.
fn filtered(text: &str, wanted: &dyn Fn(&str) -> bool, nonzero: bool) -> String {
    let keeps = |line: &&str| match line.strip_prefix("# ") {
        Some(told) => told.split(' ').nth(1).is_some_and(wanted),
        None => {
            sample(line).is_some_and(|one| wanted(&one.name) && !(nonzero && one.value.parse() == Ok(0.0)))
        }
    };
    text.lines().filter(keeps).fold(String::new(), |all, line| all + line + "\n")
}

fn table(samples: &[Sample]) -> String {
    let mut rows = vec![["METRIC", "VALUE", "LABELS"].map(str::to_owned).to_vec()];
    for Sample { name, labels, value } in samples {
        let mut shown = String::new();
        // One without value is as none.
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{label}={} ", saker_api::compact::quoted(value));
        }
        shown.truncate(shown.trim_end().len());
        rows.push(vec![name.clone(), value.clone(), shown]);
    }
    output::columns(&rows)
}

fn document(samples: &[Sample]) -> Value {
    let mut all = Map::new();
    for Sample { name, labels, value } in samples {
        let labels: Map<String, Value> =
            labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        // What JSON has no number for, such as NaN, stays a text.
        let number = value.parse::<u64>().map(Value::from).or_else(|_| {
            value.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number).ok_or(())
        });
        let value = number.unwrap_or_else(|()| json!(value));
        let values = all.entry(name.clone()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(json!({ "labels": labels, "value": value }));
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total First\n# TYPE a_total counter\na_total{x=\"1 \\\"\\\\ }\",y=\"\"} 3\na_total{x=\"2\",y=\"z\"} 0\n\
                        # HELP b Second\n# TYPE b gauge\nb 1.5\n";

    #[test]
    fn values_are_read_with_their_labels() {
        let all: Vec<Sample> = samples(TEXT).collect();
        assert_eq!(all[0].labels, [("x".to_owned(), "1 \"\\ }".to_owned()), ("y".to_owned(), String::new())]);
        assert_eq!((all[0].value.as_str(), all[2].name.as_str(), all.len()), ("3", "b", 3));
        let value = document(&all);
        assert_eq!(
            (&value["a_total"][1]["labels"]["y"], &value["b"][0]["value"]),
            (&json!("z"), &json!(1.5))
        );
    }

    #[test]
    fn labels_without_value_are_not_shown() {
        let all: Vec<Sample> = samples(TEXT).collect();
        let table = table(&all);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1].split_whitespace().nth(2), Some("x=\"1"), "{table}");
        assert!(lines[1].ends_with("}\""), "{table}");
        assert!(lines[2].ends_with("x=2 y=z"), "{table}");
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in ["", "a", "a{", "a{x=\"", "a{x=\"\\", "a{x} 1", "{", "a{x=\"1\"}"] {
            assert_eq!(sample(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_wanted_is_left_out_with_its_explanation() {
        assert_eq!(filtered(TEXT, &|name| name == "b", false), "# HELP b Second\n# TYPE b gauge\nb 1.5\n");
        assert!(!filtered(TEXT, &|_| true, true).contains("} 0"));
    }
}
