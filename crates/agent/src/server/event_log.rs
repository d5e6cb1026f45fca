//! Rotation of the JSON export, read and changed at run time.

use std::sync::Arc;
use std::time::Duration;

use saker_api::tetragon as api;
use saker_api::tetragon::event_log_service_server::EventLogService;
use saker_export::Rotation;
use tonic::{Request, Response, Status};

use super::Service;
use super::compatible::Answer;
use crate::state::SinkHandle;

/// A unit of the option: sizes are told in it.
const MEGABYTE: u64 = 1 << 20;
const NANOSECONDS: f64 = 1e9;

impl Service {
    /// The JSON export, and when it is rotated.
    fn export(&self) -> Result<(Arc<SinkHandle>, Rotation), Status> {
        let found = self.inner.state.sinks.all();
        let found = found.iter().find_map(|sink| Some((Arc::clone(sink), sink.rotation()?)));
        found.ok_or_else(|| {
            Status::failed_precondition("events are written to no file (option export-filename)")
        })
    }
}

#[tonic::async_trait]
impl EventLogService for Service {
    async fn get_event_log_params(
        &self,
        _: Request<api::GetEventLogParamsRequest>,
    ) -> Answer<api::GetEventLogParamsResponse> {
        let (_, rotation) = self.export()?;
        Ok(Response::new(api::GetEventLogParamsResponse {
            max_size: i32::try_from(rotation.max_size / MEGABYTE).unwrap_or(i32::MAX),
            rotation_interval: duration_text(rotation.interval.unwrap_or_default()),
            max_backups: i32::try_from(rotation.max_backups).unwrap_or(i32::MAX),
        }))
    }

    async fn set_event_log_params(
        &self,
        request: Request<api::SetEventLogParamsRequest>,
    ) -> Answer<api::SetEventLogParamsResponse> {
        let client = self.may_change(&request)?;
        let (sink, _) = self.export()?;
        let change = Change::of(request.get_ref()).map_err(Status::invalid_argument)?;
        let now = sink.change_rotation(|rotation| change.apply(rotation));
        tracing::info!(client, rotation = ?now, "the rotation of the export file was changed by a call");
        Ok(Response::new(api::SetEventLogParamsResponse {}))
    }
}

/// What a call changes.
#[derive(Debug, PartialEq)]
struct Change {
    max_size: Option<u64>,
    max_backups: Option<usize>,
    interval: Option<Duration>,
}

impl Change {
    fn of(request: &api::SetEventLogParamsRequest) -> Result<Self, String> {
        let negative = |name: &str, value: i32| format!("{name} is {value}: it must be 0 or more");
        let max_size = request.max_size.map(|megabytes| {
            u64::try_from(megabytes)
                .map(|megabytes| megabytes * MEGABYTE)
                .map_err(|_| negative("max_size", megabytes))
        });
        let max_backups = request
            .max_backups
            .map(|count| usize::try_from(count).map_err(|_| negative("max_backups", count)));
        let interval = request.rotation_interval.as_deref().map(|text| {
            let wrong = || {
                let shown: String = text.chars().take(80).collect();
                format!("rotation_interval is `{shown}`: expected a time such as 90s, 1h30m or 0")
            };
            parse_duration(text).ok_or_else(wrong)
        });
        Ok(Self {
            max_size: max_size.transpose()?,
            max_backups: max_backups.transpose()?,
            interval: interval.transpose()?,
        })
    }

    fn apply(&self, rotation: &mut Rotation) {
        rotation.max_size = self.max_size.unwrap_or(rotation.max_size);
        rotation.max_backups = self.max_backups.unwrap_or(rotation.max_backups);
        if let Some(interval) = self.interval {
            rotation.interval = Some(interval).filter(|interval| !interval.is_zero());
        }
    }
}

/// Reads a time as programs in Go write it: numbers, also with fractions, each with a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanoseconds: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? };
        let whole = Duration::from_nanos(whole.checked_mul(nanoseconds)?);
        let part = Duration::try_from_secs_f64(part * nanoseconds as f64 / NANOSECONDS).ok()?;
        sum = sum.checked_add(whole)?.checked_add(part)?;
        parts += 1;
        rest = tail;
    }
    // What Go can hold.
    (parts > 0 && i64::try_from(sum.as_nanos()).is_ok()).then_some(sum)
}

/// The other way: `1h30m0s`, `90ms`, `0s`.
fn duration_text(duration: Duration) -> String {
    let fraction = |value: u128, unit: u128| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { (value / unit).to_string() } else { format!("{}.{rest}", value / unit) }
    };
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanoseconds, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_and_written_as_go_does() {
        for (text, milliseconds, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m0s"),
            ("1.5h", 5_400_000, "1h30m0s"),
            ("90s", 90_000, "1m30s"),
            (".5s", 500, "500ms"),
            ("1s500ms", 1500, "1.5s"),
            ("+2m", 120_000, "2m0s"),
        ] {
            let read = parse_duration(text);
            assert_eq!(read, Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(duration_text(read.unwrap()), written, "{text}");
        }
        assert_eq!(duration_text(Duration::from_nanos(1_500)), "1.5µs");
        for text in ["", "5", "s", ".s", "1..5s", "1d", "-1s", "1 s", "9999999999999h", "+", "1s5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_set_stays() {
        let mut rotation = Rotation { max_size: 5 * MEGABYTE, max_backups: 3, interval: None };
        let before = rotation;
        Change::of(&api::SetEventLogParamsRequest::default()).unwrap().apply(&mut rotation);
        assert_eq!(rotation, before);
        let request = api::SetEventLogParamsRequest { max_backups: Some(0), ..Default::default() };
        Change::of(&request).unwrap().apply(&mut rotation);
        assert_eq!(rotation, Rotation { max_backups: 0, ..before });
        let request =
            api::SetEventLogParamsRequest { rotation_interval: Some("1m".into()), ..Default::default() };
        Change::of(&request).unwrap().apply(&mut rotation);
        assert_eq!(rotation.interval, Some(Duration::from_secs(60)));
        let request =
            api::SetEventLogParamsRequest { rotation_interval: Some("0s".into()), ..Default::default() };
        Change::of(&request).unwrap().apply(&mut rotation);
        assert_eq!(rotation.interval, None);
        for (max_size, max_backups, interval) in
            [(Some(-1), None, None), (None, Some(-5), None), (None, None, Some("")), (None, None, Some("1x"))]
        {
            let rotation_interval = interval.map(str::to_owned);
            let request = api::SetEventLogParamsRequest { max_size, max_backups, rotation_interval };
            Change::of(&request).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_time_is_read_as_it_was_written(nanoseconds in 0..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanoseconds);
            let read = parse_duration(&duration_text(duration)).unwrap();
            prop_assert!(read.abs_diff(duration) <= Duration::from_nanos(1), "{duration:?} {read:?}");
        }

        #[test]
        fn no_text_panics(text in "[0-9.hmsnuµ+-]{0,20}") {
            let _ = parse_duration(&text);
        }
    }
}
