//! Options of the metrics.

use super::{Reader, value};
use crate::config::value::ValueError;
use crate::pipeline::ProcessLabels;

/// Most series that a metric about events may have.
const SERIES_MAX: u32 = 1_000_000;

/// What metrics about events tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMetrics {
    /// Labels of the process that are filled.
    pub labels: ProcessLabels,
    /// Bound of the series of each metric.
    pub series: usize,
}

impl Reader<'_> {
    pub(super) fn event_metrics(&mut self) -> EventMetrics {
        let series = self.count("metrics-series-max", 1, SERIES_MAX) as usize;
        let wanted = self.value("metrics-label-filter", labels);
        // Where nobody asks, nothing is told apart.
        let told = self.switch("enable-event-metrics") && !self.text("metrics-server").is_empty();
        EventMetrics { labels: if told { wanted } else { ProcessLabels::default() }, series }
    }
}

fn labels(text: &str) -> Result<ProcessLabels, ValueError> {
    let mut labels = ProcessLabels::default();
    for word in value::list(text) {
        match word.as_str() {
            "binary" => labels.binary = true,
            "namespace" => labels.namespace = true,
            "pod" => labels.pod = true,
            "workload" => labels.workload = true,
            other => {
                let what =
                    format!("there is no label `{other}`: namespace, workload, pod and binary can be listed");
                return Err(ValueError::Other(what));
            }
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_listed_or_refused() {
        let binary = ProcessLabels { binary: true, ..ProcessLabels::default() };
        assert_eq!(labels("binary").unwrap(), binary);
        assert_eq!(labels("").unwrap(), ProcessLabels::default());
        let all = ProcessLabels { binary: true, namespace: true, pod: true, workload: true };
        assert_eq!(labels("namespace,workload, pod,binary").unwrap(), all);
        assert!(labels("binary,uid").unwrap_err().to_string().contains("`uid`"));
    }
}
