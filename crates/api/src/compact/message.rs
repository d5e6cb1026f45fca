//! Lines of events that came as messages.

use super::{Color, Line, outcome};
use crate::tetragon::{GetEventsResponse, ProcessThrottle, ThrottleType, get_events_response as response};
use crate::view::EventView;

impl Line<'_> {
    /// The line of a compatible message; `unseen`: it is an exit that was only concluded.
    pub(super) fn response(&mut self, message: &GetEventsResponse, unseen: bool) {
        let view = EventView::from(message);
        match &message.event {
            Some(response::Event::ProcessExec(_)) => self.exec(&view),
            Some(response::Event::ProcessExit(exit)) => {
                self.exit(&view, &outcome(&exit.signal, exit.status, unseen));
            }
            Some(response::Event::ProcessThrottle(throttle)) => self.throttle(throttle),
            Some(response::Event::ProcessLoader(loader)) => {
                self.loader(&view, &loader.buildid, &loader.path);
            }
            Some(response::Event::RateLimitInfo(info)) => {
                self.label("⚠️", "limit", Color::Alert);
                self.value(Color::Source, self.node);
                self.plain(&format!("{} events withheld", info.number_of_dropped_process_events));
            }
            Some(response::Event::ProcessTracepoint(event)) => {
                self.tracepoint(&view, &event.subsys, &event.event, &event.args.iter().collect::<Vec<_>>());
            }
            Some(response::Event::ProcessUprobe(event)) => {
                self.hook("🕵️", "uprobe", &view, &[&event.path, &event.symbol]);
            }
            Some(response::Event::ProcessUsdt(event)) => {
                self.hook("🕵️", "usdt", &view, &[&event.path, &event.provider, &event.name]);
            }
            Some(response::Event::ProcessLsm(event)) => {
                self.hook("🔒", "LSM", &view, &[&event.function_name]);
            }
            Some(response::Event::ProcessKprobe(event)) => {
                self.kprobe(&view, &event.function_name, &event.args.iter().collect::<Vec<_>>());
            }
            Some(response::Event::Test(_)) => self.out.push_str("TEST EVENT"),
            None => self.label("❓", "unknown", Color::Label),
        }
        if let Some(info) = message.aggregation_info.filter(|info| info.count > 1) {
            self.plain(&format!("×{}", info.count));
        }
    }

    fn throttle(&mut self, throttle: &ProcessThrottle) {
        self.label("🧬", "throttle", Color::Alert);
        self.plain(match throttle.r#type() {
            ThrottleType::ThrottleStart => "START",
            ThrottleType::ThrottleStop => "STOP ",
            ThrottleType::ThrottleUnknown => "?    ",
        });
        self.value(Color::Arguments, &throttle.cgroup);
    }

    pub(super) fn loader(&mut self, view: &EventView<'_>, build_id: &[u8], path: &str) {
        self.label("🧬", "loader", Color::Label);
        self.process(view.process, false);
        let build_id: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.value(Color::Arguments, &build_id);
        self.value(Color::Path, path);
    }
}
