use saker_abi::Stats;
use saker_engine::EngineConfig;

use super::*;
use crate::policies::Loader;
use crate::testing::{self, Stream, World};

struct NoSensors;

impl Sensors for NoSensors {
    fn snapshot(&self) -> Result<Vec<SnapshotTask>> {
        Ok(Vec::new())
    }

    fn stats(&self) -> Result<Vec<Stats>> {
        Ok(vec![Stats::default()])
    }

    fn memory(&self) -> u64 {
        0
    }

    fn detach(&mut self) {}

    fn missed(&self) -> [u64; 3] {
        [0; 3]
    }

    fn loader(&self) -> Result<Box<dyn Loader>> {
        bail!("there is no kernel")
    }
}

#[test]
fn a_dead_thread_of_a_sink_ends_the_agent() {
    let world = World::with_sink(Box::new(|_, _| panic!("on purpose")));
    let (requests, requested) = mpsc::channel();
    let (begin, beginning) = mpsc::channel();
    // Held, because a stream that ends would end the pipeline.
    let (_records, stream) = mpsc::channel();
    let reader = Box::new(Stream(stream));
    let pipeline = Pipeline::start(reader, beginning, &world.fanout, 4096, requests).unwrap();
    let engine = Engine::new(EngineConfig::default());
    begin.send(EngineStart { engine, snapshot: Vec::new(), recorder: None }).unwrap();
    assert!(pipeline.wait_started(START));
    let state = Arc::clone(&world.state);
    let mut agent = Agent { pipeline, sensors: Box::new(NoSensors), state, requested, last: Last::default() };
    world.publish(vec![testing::exec(1)]);
    let error = agent.work().unwrap_err().to_string();
    assert_eq!(error, "the thread that writes to the sink file /target ended unexpectedly");
    assert!(agent.pipeline.finish(Instant::now() + END));
}
