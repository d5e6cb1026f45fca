//! `saker status -o json`: the sums that must hold.

use anyhow::{Result, ensure};
use serde_json::Value;

/// The state of an agent.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    /// The number at this place, also one that stands as a string; 0: none.
    #[must_use]
    pub fn number(&self, place: &str) -> u64 {
        number(self.0.pointer(&format!("/{place}")))
    }

    fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The sinks of this kind.
    pub fn sinks<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.list("sinks").iter().filter(move |sink| sink["kind"] == kind)
    }

    /// Records of all kinds: produced, received, lost.
    #[must_use]
    pub fn records(&self) -> (u64, u64, u64) {
        self.list("records").iter().fold((0, 0, 0), |(produced, received, lost), record| {
            (
                produced + number(record.get("produced")),
                received + number(record.get("received")),
                lost + lost_of(record),
            )
        })
    }

    /// What is not as it should be, in words.
    #[must_use]
    pub fn problems(&self) -> String {
        let words = self.list("problems").iter().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join("\n")
    }

    /// Times a sensor went unseen, at most.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.list("sensors").iter().map(|sensor| number(sensor.get("missed"))).sum()
    }

    /// Records of a kind, e.g. `exec`: produced, received, lost.
    #[must_use]
    pub fn record(&self, kind: &str) -> (u64, u64, u64) {
        self.list("records").iter().find(|record| record["kind"] == kind).map_or((0, 0, 0), |record| {
            (number(record.get("produced")), number(record.get("received")), lost_of(record))
        })
    }

    /// What has not been written by the file sink yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let (produced, received, lost) = self.records();
        let kernel = produced.abs_diff(received + lost);
        self.sinks("file").fold(kernel, |sum, sink| {
            sum + number(sink.get("events"))
                .saturating_sub(["written", "dropped", "filtered"].iter().map(|&n| number(sink.get(n))).sum())
        })
    }

    /// In = out + dropped at every stage. The machine goes on meanwhile, so what is under way may be missing,
    /// but never too much may have come out.
    ///
    /// # Errors
    /// When a sum does not hold.
    pub fn check_balance(&self, under_way: u64) -> Result<()> {
        for record in self.list("records") {
            let kind = record["kind"].as_str().unwrap_or("?");
            let (produced, received) = (number(record.get("produced")), number(record.get("received")));
            let lost = lost_of(record);
            // The kernel's counters are read a moment before or after ours.
            ensure!(
                produced.abs_diff(received + lost) <= under_way,
                "{kind} records: {produced} produced, {received} received, {lost} lost"
            );
        }
        for sink in self.list("sinks") {
            let name = sink["name"].as_str().unwrap_or("?");
            let [events, written, dropped, filtered] =
                ["events", "written", "dropped", "filtered"].map(|field| number(sink.get(field)));
            let out = written + dropped + filtered;
            ensure!(
                out <= events && events - out <= under_way,
                "sink {name}: {events} events, {written} written, {dropped} dropped, {filtered} filtered"
            );
        }
        Ok(())
    }
}

fn lost_of(record: &Value) -> u64 {
    record
        .get("lost")
        .and_then(Value::as_object)
        .map_or(0, |causes| causes.values().map(|n| number(Some(n))).sum())
}

/// A number that stands as such or, with 64 bits, as a string.
#[must_use]
pub fn number(value: Option<&Value>) -> u64 {
    value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0)
}
