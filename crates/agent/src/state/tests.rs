use saker_engine::Counters;

use super::*;
use crate::testing::World;

fn told(world: &World) -> String {
    world.state.status().problems.join("\n")
}

#[test]
fn an_agent_that_lost_nothing_has_no_problems() {
    assert_eq!(told(&World::new()), "");
}

#[test]
fn evictions_are_problems() {
    let world = World::new();
    let mut counters = Counters::default();
    (counters.table.evicted_alive, counters.table.evicted_ended) = (3, 4);
    world.state.gauges.set_counters(counters);
    let told = told(&world);
    assert!(told.contains("3 living processes were forgotten"), "{told}");
    assert!(told.contains("4 ended processes were forgotten"), "{told}");
    assert!(told.contains("raise process-cache-size, now 1000"), "{told}");
    let table = world.state.status().processes.unwrap();
    assert_eq!((table.evictions, table.evictions_alive), (7, 3));
}

#[test]
fn missed_runs_and_failed_helpers_are_problems() {
    let world = World::new();
    let mut stats = Stats::default();
    (stats.failed[5], stats.failed_errno[5]) = (2, 14);
    stats.sent[Kind::Exec as usize] = 10;
    stats.lost[0][Kind::Exec as usize] = 1;
    world.state.set_kernel(KernelSample { stats: vec![stats], missed: [0, 7, 0], ..KernelSample::default() });
    let told = told(&world);
    assert!(told.contains("up to 7 runs of the sensor fork"), "{told}");
    assert!(told.contains("bpf_probe_read_user failed 2 times at args (errno 14)"), "{told}");
    let status = world.state.status();
    assert_eq!(status.helper_failures[0].helper, "bpf_probe_read_user");
    assert_eq!((status.sensors[0].name.as_str(), status.sensors[0].runs), ("exec", 11));
}

#[test]
fn a_recording_shows_and_its_early_end_is_a_problem() {
    let mut recorder = crate::recording::testing::small(900);
    let world = World::recording(Arc::clone(recorder.recorded()));
    let sink = || world.state.status().sinks.into_iter().find(|sink| sink.kind == RECORDING).unwrap();
    recorder.write(&saker_engine::Input::Record(&[0; 100]));
    recorder.flush();
    let shown = sink();
    assert_eq!((shown.target.as_str(), shown.events, shown.written, shown.dropped), ("/r", 1, 1, 0));
    assert!(shown.bytes > 100 && shown.last_error.is_empty() && told(&world).is_empty());
    for _ in 0..3 {
        recorder.write(&saker_engine::Input::Record(&[0; 1000]));
        recorder.flush();
    }
    let shown = sink();
    assert!(shown.events == 4 && shown.events == shown.written + shown.dropped, "{shown:?}");
    assert_eq!((shown.bytes, shown.errors), (900, 1));
    let told = told(&world);
    assert!(told.contains("the recording /r ended early"), "{told}");
}
