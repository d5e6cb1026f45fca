//! Made-up processes and the records a kernel would write of them, for tests, benchmarks and fixtures.

use saker_abi::{
    CHUNK_MAX, CHUNKS_MAX, Data, Exec, Exit, File, Fork, Hook, Identity, Key, ProcessFlags, Stats, Status,
    Tag, build,
};

use crate::capture::Input;
use crate::snapshot::SnapshotTask;

/// A host with its processes' common facts: the time and the sequence numbers.
#[derive(Clone, Debug)]
pub struct World {
    /// Nanoseconds since boot; every record moves it on.
    pub clock: u64,
    /// Kernel counters of each CPU.
    pub stats: Vec<Stats>,
    /// Form of credentials, namespaces and the like of all processes.
    pub identity: Identity,
    next_cpu: usize,
    next_pid: u32,
}

/// A process of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its present identity.
    pub key: Key,
    /// Its creator.
    pub parent: Key,
    /// Its present parent.
    pub real_parent: Key,
    /// Its creation.
    pub start: u64,
    /// It has executed nothing yet.
    pub forked: bool,
}

/// What an exec runs.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// As given to execve.
    pub filename: &'a str,
    /// File that runs.
    pub exe: &'a str,
    /// Working directory.
    pub cwd: &'a str,
    /// Arguments.
    pub args: &'a [&'a str],
}

/// An ordinary program.
pub const LS: Program<'static> = Program {
    filename: "/usr/bin/ls",
    exe: "/usr/bin/ls",
    cwd: "/root",
    args: &["ls", "--color=auto", "-l", "/var/log"],
};

impl World {
    /// A world of `cpus` CPUs, one hour after boot.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        let mut identity = Identity {
            auid: 1000,
            audit_session: 3,
            sid: 700,
            pgid: 700,
            cgroup_id: 40,
            ..Identity::default()
        };
        identity.creds.cap_bounding = 0x1ff_ffff_ffff;
        for (to, from) in identity.comm.iter_mut().zip(b"worker") {
            *to = *from as _;
        }
        let stats = vec![Stats::default(); cpus.max(1)];
        Self { clock: 3_600_000_000_000, stats, identity, next_cpu: 0, next_pid: 1000 }
    }

    /// A process that was there before; without records.
    pub fn existing(&mut self, pid: u32, parent: Key) -> Subject {
        let start = u64::from(pid) * 1_000_000;
        Subject { key: Key::new(pid, start), parent, real_parent: parent, start, forked: false }
    }

    /// What a scan says of a process.
    #[must_use]
    pub fn task(&self, subject: &Subject, program: &Program<'_>) -> SnapshotTask {
        let mut task = Exec { id: self.identity_of(subject, 0), exe: file(program), ..Exec::default() };
        task.rec.process = subject.key;
        task.rec.time = self.clock;
        let record = build::task(task)
            .ok(Tag::EXE, &build::components(program.exe))
            .ok(Tag::CWD, &build::components(program.cwd))
            .finish();
        SnapshotTask { record, args: build::vector(program.args), envs: Vec::new() }
    }

    /// A process creates another.
    pub fn fork(&mut self, parent: &Subject) -> (Subject, Vec<u8>) {
        self.next_pid += 1;
        self.fork_as(parent, self.next_pid)
    }

    /// A process creates another, whose id is `pid`.
    pub fn fork_as(&mut self, parent: &Subject, pid: u32) -> (Subject, Vec<u8>) {
        self.clock += 1_000;
        let key = Key::new(pid, self.clock);
        let child =
            Subject { key, parent: parent.key, real_parent: parent.key, start: self.clock, forked: true };
        let mut fork = Fork { id: self.identity_of(&child, 0), ..Fork::default() };
        self.stamp(&mut fork.rec, key);
        (child, build::fork(fork).finish())
    }

    /// A process runs another program.
    pub fn exec(&mut self, subject: &mut Subject, program: &Program<'_>) -> Vec<u8> {
        self.exec_with(subject, program, |_| {})
    }

    /// A process runs another program; `change` has the last word on the record's fixed part.
    pub fn exec_with(
        &mut self,
        subject: &mut Subject,
        program: &Program<'_>,
        change: impl FnOnce(&mut Exec),
    ) -> Vec<u8> {
        let args = build::vector(program.args);
        let exec = self.exec_record(subject, program, args.len() as u32);
        self.finish_exec(subject, program, exec, change).ok(Tag::ARGS, &args).finish()
    }

    /// A process runs another program with arguments that go ahead of the record, in data records.
    pub fn exec_long(&mut self, subject: &mut Subject, program: &Program<'_>, args: &[u8]) -> Vec<Vec<u8>> {
        let mut exec = self.exec_record(subject, program, args.len() as u32);
        let parts = args.chunks(CHUNK_MAX as usize).take(CHUNKS_MAX as usize);
        exec.args_chunks = parts.len() as u32;
        // The time of the exec is that of its first part.
        let key = Key::new(subject.key.pid, self.clock + 1_000);
        let mut records = Vec::new();
        for (index, bytes) in parts.enumerate() {
            let index = index as u32;
            let offset = u64::from(index * CHUNK_MAX);
            let mut data = Data { index, offset, total: args.len() as u64, ..Data::default() };
            self.stamp(&mut data.rec, key);
            records.push(build::data(data).ok(Tag::ARGS, bytes).finish());
        }
        let exec = self.finish_exec(subject, program, exec, |_| {});
        records.push(exec.value(Tag::ARGS, Status::Chunked, 0, b"").finish());
        records
    }

    fn exec_record(&self, subject: &Subject, program: &Program<'_>, args_len: u32) -> Exec {
        let flags = if subject.forked { ProcessFlags::FORKED.0 } else { 0 };
        Exec {
            id: self.identity_of(subject, flags),
            previous: subject.key,
            exe: file(program),
            args_len,
            argc: program.args.len() as u32,
            ..Exec::default()
        }
    }

    fn finish_exec(
        &mut self,
        subject: &mut Subject,
        program: &Program<'_>,
        mut exec: Exec,
        change: impl FnOnce(&mut Exec),
    ) -> build::Builder {
        self.clock += 1_000;
        subject.key = Key::new(subject.key.pid, self.clock);
        subject.forked = false;
        self.stamp(&mut exec.rec, subject.key);
        change(&mut exec);
        build::exec(exec)
            .ok(Tag::FILENAME, program.filename.as_bytes())
            .ok(Tag::EXE, &build::components(program.exe))
            .ok(Tag::CWD, &build::components(program.cwd))
            .ok(Tag::CGROUP, b"session-3.scope")
            .ok(Tag::TTY, b"pts/3")
    }

    /// A process ends with a wait status.
    pub fn exit(&mut self, subject: &Subject, code: u32) -> Vec<u8> {
        self.clock += 1_000;
        let mut exit = Exit { id: self.identity_of(subject, 0), code, ..Exit::default() };
        self.stamp(&mut exit.rec, subject.key);
        build::exit(exit).finish()
    }

    /// A thread of a process calls a hooked function, or returns from one; `hook` says the rest. Values are added
    /// to what is returned.
    pub fn hook(&mut self, subject: &Subject, mut hook: Hook) -> build::Builder {
        self.clock += 1_000;
        self.stamp(&mut hook.rec, subject.key);
        hook.cgroup_id = self.identity.cgroup_id;
        hook.creds = self.identity.creds;
        hook.ns = self.identity.ns;
        if hook.tid == 0 {
            hook.tid = subject.key.pid;
        }
        build::hook(hook)
    }

    /// A part of a value goes ahead of the record of a hook, which `data` names. Its bytes are added to what is
    /// returned.
    pub fn hook_data(&mut self, subject: &Subject, mut data: Data) -> build::Builder {
        self.stamp(&mut data.rec, subject.key);
        build::data(data)
    }

    /// The kernel had no room for a record that was made: its number stays, its bytes are gone.
    pub fn lose(&mut self, record: &[u8]) {
        if let Ok(record) = saker_abi::decode(record) {
            let header = record.header();
            if let Some(stats) = self.stats.get_mut(header.cpu as usize) {
                stats.lost[saker_abi::Loss::RingFull as usize][usize::from(header.kind)] += 1;
            }
        }
    }

    /// The kernel's counters as an input.
    #[must_use]
    pub fn sample(&self) -> Input<'static> {
        Input::Sample { stats: self.stats.clone().into(), drained: true }
    }

    fn identity_of(&self, subject: &Subject, flags: u32) -> Identity {
        let Subject { parent, real_parent, start, key, .. } = *subject;
        let flags = self.identity.flags | flags;
        Identity { parent, real_parent, start_boottime: start, tid: key.pid, flags, ..self.identity }
    }

    fn stamp(&mut self, header: &mut saker_abi::Header, key: Key) {
        self.next_cpu = (self.next_cpu + 1) % self.stats.len();
        let stats = &mut self.stats[self.next_cpu];
        stats.seq += 1;
        header.process = key;
        header.time = self.clock;
        header.cpu = self.next_cpu as u32;
        header.seq = stats.seq;
    }
}

fn file(program: &Program<'_>) -> File {
    let ino =
        program.exe.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    File { ino: ino >> 32, dev: 8 << 20 | 1, nlink: 1, mode: 0o100_755, ..File::default() }
}

/// Records of `count` processes that are created, run a program and end, `alive` of them at a time.
#[must_use]
pub fn churn(count: usize, alive: usize) -> Vec<Vec<u8>> {
    let programs = ["/usr/bin/gcc", "/usr/bin/ls", "/bin/sh", "/usr/bin/make", "/usr/bin/sed"];
    let mut world = World::new(2);
    let init = world.existing(1, Key::default());
    let (mut shell, fork) = world.fork(&init);
    let mut records = vec![fork, world.exec(&mut shell, &LS)];
    let mut living = std::collections::VecDeque::new();
    for index in 0..count {
        let (mut child, fork) = world.fork(&shell);
        records.push(fork);
        let exe = programs[index % programs.len()];
        let number = format!("-o{index}");
        let args = [exe, "-c", "-O2", "-Wall", number.as_str(), "main.c"];
        records.push(
            world.exec(&mut child, &Program { filename: exe, exe, cwd: "/home/user/project", args: &args }),
        );
        living.push_back(child);
        if living.len() > alive.max(1) - 1
            && let Some(oldest) = living.pop_front()
        {
            records.push(world.exit(&oldest, 0));
        }
    }
    for child in living {
        records.push(world.exit(&child, 0));
    }
    records.push(world.exit(&shell, 0));
    records
}
