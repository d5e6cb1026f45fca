use saker_abi::{NamespaceInums, Stats};
use saker_engine::SnapshotTask;
use saker_policy::plan::Choices;

use super::start::START;
use super::*;
use crate::policies::{Loader, Policies};
use crate::testing::{self, Stream, World};

struct NoSensors;

impl Sensors for NoSensors {
    fn snapshot(&self) -> Result<Vec<SnapshotTask>> {
        Ok(Vec::new())
    }

    fn stats(&self) -> Result<Vec<Stats>> {
        Ok(vec![Stats::default()])
    }

    fn memory(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn detach(&mut self) {}

    fn missed(&self) -> [u64; 3] {
        [0; 3]
    }

    fn guard(&self, _: Vec<saker_probes::Part>) -> Result<Arc<dyn crate::protection::Shield>> {
        bail!("nothing is guarded here")
    }

    fn loader(
        &self,
        _: NamespaceInums,
        _: Arc<Workloads>,
        _: saker_probes::Spared,
    ) -> Result<Box<dyn Loader>> {
        bail!("there is no kernel")
    }
}

#[test]
fn an_agent_whose_file_of_policies_cannot_be_loaded_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.yaml");
    let world = World::new();
    let (requests, requested) = mpsc::channel();
    let (begin, beginning) = mpsc::channel();
    let (_records, stream) = mpsc::channel();
    let pipeline =
        Pipeline::start(Box::new(Stream(stream)), beginning, &world.fanout, 4096, requests.clone()).unwrap();
    begin.send(testing::engine_start()).unwrap();
    let sources = crate::policies::Sources { file: Some(file.clone()), ..Default::default() };
    let policies =
        Policies::start(Err("no kernel".into()), Box::new(pipeline.policies()), sources, Choices::default())
            .unwrap();
    let state = State::new(Parts {
        node: "node".into(),
        gauges: Arc::clone(&pipeline.gauges),
        input_capacity: 1,
        fanout: Arc::clone(&world.fanout),
        sinks: Vec::new(),
        recorded: None,
        processes: 1,
        client_queue: 1,
        series: 1000,
        policies: Arc::new(policies),
        protection: Arc::default(),
        requester: None,
        pods: None,
        pod_table: None,
        workloads: None,
        hooks: None,
        requests,
        started: (SystemTime::now(), Instant::now()),
    });
    let state = Arc::new(state);
    let mut agent = Agent::new(pipeline, Box::new(NoSensors), state, requested, Arc::new(|| ()));
    let error = agent.await_policies(Some(&file)).unwrap_err().to_string();
    assert!(error.starts_with("--tracing-policy /") && error.contains("p.yaml: cannot read"), "{error}");
    assert_eq!(agent.await_policies(None).unwrap(), Flow::Go);
    assert!(agent.pipeline.finish(Instant::now() + END));
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
    begin.send(testing::engine_start()).unwrap();
    assert!(pipeline.wait_started(START));
    let state = Arc::clone(&world.state);
    let mut agent = Agent::new(pipeline, Box::new(NoSensors), state, requested, Arc::new(|| ()));
    world.publish(vec![testing::exec(1)]);
    let error = agent.work().unwrap_err().to_string();
    assert_eq!(error, "the thread that writes to the sink file /target ended unexpectedly");
    assert!(agent.pipeline.finish(Instant::now() + END));
}

/// What is asked for while the configuration is read again is done at once, and one more reading after that.
#[test]
fn reading_the_configuration_again_holds_nothing_up() {
    let world = World::new();
    let (requests, requested) = mpsc::channel();
    let (begin, beginning) = mpsc::channel();
    let (_records, stream) = mpsc::channel();
    let reader = Box::new(Stream(stream));
    let pipeline = Pipeline::start(reader, beginning, &world.fanout, 4096, requests.clone()).unwrap();
    begin.send(testing::engine_start()).unwrap();
    assert!(pipeline.wait_started(START));
    let (begun, begins) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = std::sync::Mutex::new(goes_on);
    let reload = move || {
        begun.send(()).unwrap();
        goes_on.lock().unwrap().recv().unwrap();
    };
    let state = Arc::clone(&world.state);
    let mut agent = Agent::new(pipeline, Box::new(NoSensors), state, requested, Arc::new(reload));
    requests.send(Request::Reload).unwrap();
    assert_eq!(agent.step(START).unwrap(), Flow::Go);
    begins.recv().unwrap();
    for _ in 0..3 {
        requests.send(Request::Reload).unwrap();
        assert_eq!(agent.step(START).unwrap(), Flow::Go);
    }
    let (done, mut looked) = tokio::sync::oneshot::channel();
    requests.send(Request::Look(done)).unwrap();
    assert_eq!(agent.step(START).unwrap(), Flow::Go);
    assert!(looked.try_recv().is_ok() && begins.try_recv().is_err() && agent.reloading.is_busy());
    for _ in 0..2 {
        go_on.send(()).unwrap();
    }
    while agent.reloading.is_busy() {
        agent.step(Duration::from_millis(5)).unwrap();
    }
    assert_eq!(begins.try_iter().count(), 1);
    assert!(agent.reloading.finish(Instant::now()) && agent.pipeline.finish(Instant::now() + END));
}
