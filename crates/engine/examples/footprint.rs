//! Says how much memory live processes take, as the growth of this program's resident set.

use std::sync::Arc;

use saker_abi::Key;
use saker_api::event::{Node, Visible};
use saker_engine::workload::{Program, World};
use saker_engine::{Engine, EngineConfig, SnapshotKind};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn main() {
    let all = std::env::args().nth(1).is_some();
    let visible = Visible { credentials: all, namespaces: all, extras: all };
    let node = Arc::new(Node { name: "node-1.example".into(), ..Node::default() });
    let mut engine = Engine::new(EngineConfig { node, visible, ..EngineConfig::default() });
    let (mut events, mut line) = (Vec::new(), Vec::new());
    let mut world = World::new(2);
    let init = world.existing(1, Key::default());
    let systemd = Program { filename: "", exe: "/usr/lib/systemd/systemd", cwd: "/", args: &["/sbin/init"] };
    engine.snapshot(vec![world.task(&init, &systemd)], SnapshotKind::Start, &mut events);
    let before = resident_kib();
    for count in 1..=40_000u32 {
        let (mut child, fork) = world.fork(&init);
        engine.record(&fork, &mut events);
        let number = format!("--listen=10.0.0.1:{count}");
        let args = ["server", "-c", "/etc/server/server.conf", number.as_str(), "--workers", "4"];
        let program =
            Program { filename: "/usr/sbin/server", exe: "/usr/sbin/server", cwd: "/", args: &args };
        let exec = world.exec(&mut child, &program);
        engine.record(&exec, &mut events);
        for event in events.drain(..) {
            line.clear();
            saker_api::json::write_event(&event, &mut line);
        }
        if count.is_multiple_of(10_000) {
            let grown = resident_kib() - before;
            let each = grown * 1024 / u64::from(count);
            println!(
                "{count} processes: {grown} KiB, {each} bytes each, table {} bytes",
                engine.table_bytes()
            );
        }
    }
}
