//! The calls for debugging: the log level, and what the process table holds.

use std::sync::Arc;

use prost::Message;
use saker_api::event::{Event, EventKind, ExecEvent, Node, ProcessView, Timestamp};
use saker_api::proto;
use saker_api::tetragon::get_events_response::Event as Kind;
use saker_api::tetragon::{self as api, ConfigFlag, LogLevel, get_debug_request, get_debug_response};
use saker_api::tetragon::{set_debug_request, set_debug_response};
use saker_engine::Remembered;
use tonic::{Request, Response, Status};
use tracing::level_filters::LevelFilter;

use super::Service;
use super::compatible::Answer;
use crate::logging;

/// The level as the service numbers it. There is none above `error` here, and none that is off.
fn told(level: LevelFilter) -> LogLevel {
    match level {
        LevelFilter::WARN => LogLevel::Warn,
        LevelFilter::INFO => LogLevel::Info,
        LevelFilter::DEBUG => LogLevel::Debug,
        LevelFilter::TRACE => LogLevel::Trace,
        _ => LogLevel::Error,
    }
}

/// The level that is asked for. An agent that panics, or ends for an error, logs that as an error.
fn asked(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Panic | LogLevel::Fatal | LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn flag(number: i32) -> Result<ConfigFlag, Status> {
    ConfigFlag::try_from(number).map_err(|_| Status::invalid_argument(format!("there is no flag {number}")))
}

impl Service {
    pub(super) async fn debug(
        &self,
        request: Request<api::GetDebugRequest>,
    ) -> Answer<api::GetDebugResponse> {
        let request = request.into_inner();
        let flag = flag(request.flag)?;
        let arg = match flag {
            ConfigFlag::LogLevel => get_debug_response::Arg::Level(told(logging::level()).into()),
            ConfigFlag::DumpProcessCache => {
                let get_debug_request::Arg::Dump(wanted) = request
                    .arg
                    .unwrap_or(get_debug_request::Arg::Dump(api::DumpProcessCacheReqArgs::default()));
                get_debug_response::Arg::Processes(self.processes(wanted).await?)
            }
        };
        Ok(Response::new(api::GetDebugResponse { flag: flag.into(), arg: Some(arg) }))
    }

    pub(super) fn change_debug(
        &self,
        request: &Request<api::SetDebugRequest>,
    ) -> Answer<api::SetDebugResponse> {
        let client = self.may_change(request)?;
        let request = request.get_ref();
        if flag(request.flag)? != ConfigFlag::LogLevel {
            return Err(Status::invalid_argument("only the log level can be set: CONFIG_FLAG_LOG_LEVEL"));
        }
        let Some(set_debug_request::Arg::Level(number)) = request.arg else {
            return Err(Status::invalid_argument("the level is missing"));
        };
        let unknown = |_| Status::invalid_argument(format!("there is no log level {number}"));
        let level = asked(LogLevel::try_from(number).map_err(unknown)?);
        let before = logging::level();
        logging::set_level(level);
        // Above all levels but the first, so that it can be found whatever was set.
        tracing::error!(client, %before, %level, "the log level was changed by a call");
        let arg = Some(set_debug_response::Arg::Level(told(level).into()));
        Ok(Response::new(api::SetDebugResponse { flag: ConfigFlag::LogLevel.into(), arg }))
    }

    /// What the process table holds. All of it is some tens of megabytes, so there is one such answer at a time.
    async fn processes(
        &self,
        wanted: api::DumpProcessCacheReqArgs,
    ) -> Result<api::DumpProcessCacheResArgs, Status> {
        let busy = || Status::resource_exhausted("the process table is being told to somebody else");
        let turn = Arc::clone(&self.inner.dumping).try_acquire_owned().map_err(|_| busy())?;
        let late = || Status::unavailable("the engine has no time to tell its process table; try again");
        let remembered = self.inner.state.processes().await.ok_or_else(late)?;
        let told = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let told = remembered.into_iter().filter(|one| is_wanted(one, wanted)).filter_map(internal);
            api::DumpProcessCacheResArgs { processes: told.collect() }
        });
        told.await.map_err(|error| Status::internal(error.to_string()))
    }
}

/// The kernel's table, that of Tetragon is called execve_map, has just the processes that are alive.
fn is_wanted(one: &Remembered, wanted: api::DumpProcessCacheReqArgs) -> bool {
    let unused = wanted.skip_zero_refcnt && one.view.refcnt == 0;
    let in_kernel = wanted.exclude_execve_map_processes && one.alive;
    !unused && !in_kernel
}

/// As clients know it. What Tetragon's table shows of its collection of garbage is not there: an entry goes when
/// nothing needs it. So one without references is there only for descendants further down (`deletePending`), all others
/// are in use; and no history of references is kept.
fn internal(one: Remembered) -> Option<api::ProcessInternal> {
    let refcnt = one.view.refcnt;
    let color = if refcnt > 0 { "inUse" } else { "deletePending" };
    Some(api::ProcessInternal {
        process: Some(message(one.view)?),
        color: color.into(),
        refcnt: Some(refcnt),
        refcnt_ops: Default::default(),
    })
}

/// The message of a process, as events have it.
fn message(view: ProcessView) -> Option<api::Process> {
    let kind = EventKind::Exec(ExecEvent { process: view, parent: None, ancestors: Vec::new() });
    let event = Event { time: Timestamp(0), node: Arc::new(Node::default()), kind };
    let response = api::GetEventsResponse::decode(proto::encode_response(&event)).ok()?;
    match response.event? {
        Kind::ProcessExec(exec) => exec.process,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use saker_api::event::Process;

    use super::*;

    fn remembered(pid: u32, refcnt: u32, alive: bool) -> Remembered {
        let process = Arc::new(Process { pid, binary: "/bin/p".into(), ..Process::default() });
        Remembered { view: ProcessView { process, refcnt }, alive }
    }

    #[test]
    fn entries_are_told_as_clients_know_them_and_left_out_as_asked() {
        let all = [remembered(1, 3, true), remembered(2, 1, false), remembered(3, 0, false)];
        let pids = |skip_zero_refcnt, exclude_execve_map_processes| -> Vec<u32> {
            let wanted = api::DumpProcessCacheReqArgs { skip_zero_refcnt, exclude_execve_map_processes };
            let told = all.iter().filter(|one| is_wanted(one, wanted)).cloned().filter_map(internal);
            told.map(|one| one.process.unwrap().pid.unwrap()).collect()
        };
        assert_eq!(pids(false, false), [1, 2, 3]);
        assert_eq!(pids(true, false), [1, 2]);
        assert_eq!(pids(false, true), [2, 3]);
        assert_eq!(pids(true, true), [2]);
        let told = internal(remembered(3, 0, false)).unwrap();
        assert_eq!((told.color.as_str(), told.refcnt), ("deletePending", Some(0)));
        let told = internal(remembered(1, 3, true)).unwrap();
        let process = told.process.unwrap();
        assert_eq!((told.color.as_str(), told.refcnt, process.refcnt), ("inUse", Some(3), 3));
        assert_eq!(process.binary, "/bin/p");
    }

    #[test]
    fn every_level_is_told_as_it_was_asked_for() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            assert_eq!(told(asked(level)), level);
        }
        for level in [LogLevel::Panic, LogLevel::Fatal] {
            assert_eq!(told(asked(level)), LogLevel::Error);
        }
    }
}
