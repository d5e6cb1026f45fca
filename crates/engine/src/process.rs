//! Makes processes, as events show them, out of records.

use std::sync::Arc;

use saker_abi::{
    Creds, Exec, FileFlags, Identity, Key, NamespaceInums, PathFlags, ProcessFlags, Status, Value, device,
    push_lossy, push_path,
};
use saker_api::event::{Credentials, Namespace, Namespaces, Process, ProcessExtra, Timestamp};

use crate::arguments::{Arguments, environment};
use crate::chunks::Joined;
use crate::config::EngineConfig;
use crate::container::container_id;
use crate::exec_id::ExecIds;
use crate::hash::Map;
use crate::intern::Interner;
use crate::marks::{Marks, Texts};
use crate::parts::{Parts, is, string};
use crate::privileges::binary_properties;
use crate::table::Forked;

/// Path lengths from which the compatible form says that a file name was long.
const LONG_FILENAME: usize = 255;
/// Control groups of containers that are remembered.
const CONTAINERS: usize = 4096;

/// Makes processes; keeps what they share.
#[derive(Debug)]
pub(crate) struct Factory {
    pub config: EngineConfig,
    ids: ExecIds,
    strings: Interner,
    texts: Texts,
    text: String,
    /// Container ids by control group, for processes that are created directly into one.
    containers: Map<u64, Box<str>>,
    kernel: Arc<Process>,
}

/// What surrounds a process that is made.
pub(crate) struct Relations<'a> {
    /// Its creator, when known.
    pub parent: Option<&'a Process>,
    /// Itself before this exec, when that is worth telling.
    pub previous: Option<Arc<str>>,
    /// Its present parent, when known.
    pub real_parent: Option<Arc<str>>,
}

/// An argument vector or environment and what is known about its completeness.
#[derive(Clone, Copy)]
struct Vector<'a> {
    bytes: &'a [u8],
    cut: bool,
    /// Length of the whole, when it was cut.
    whole: u64,
}

impl Factory {
    pub fn new(config: EngineConfig) -> Self {
        let mut ids = ExecIds::new(&config.node.name);
        let mut texts = Texts::default();
        let kernel = Process {
            exec_id: ids.id(Key::new(0, 1)),
            binary: Arc::from("<kernel>"),
            flags: texts.text(Marks::PROC_FS),
            start_time: Timestamp(config.boot_to_wall.saturating_add(1)),
            visible: config.visible,
            ..Process::default()
        };
        Self {
            config,
            ids,
            strings: Interner::default(),
            texts,
            text: String::new(),
            containers: Map::default(),
            kernel: Arc::new(kernel),
        }
    }

    pub fn wall(&self, boot: u64) -> Timestamp {
        Timestamp(self.config.boot_to_wall.saturating_add(boot))
    }

    pub fn exec_id(&mut self, key: Key) -> Arc<str> {
        self.ids.id(key)
    }

    /// The parent of the first processes.
    pub fn kernel(&self) -> Arc<Process> {
        Arc::clone(&self.kernel)
    }

    /// A process as of its exec.
    pub fn executed(
        &mut self,
        exec: &Exec,
        parts: &Parts<'_>,
        long: Option<&(Joined, Joined)>,
        relations: Relations<'_>,
    ) -> Process {
        let mut marks = Marks::EXECVE;
        marks.set_if(ProcessFlags(exec.id.flags).has(ProcessFlags::FORKED), Marks::CLONE);
        let cwd = self.cwd(parts.cwd, relations.parent, &mut marks);
        let canonical = self.canonical(parts.exe, FileFlags(exec.exe.flags));
        let given = string(parts.filename);
        let binary = self.binary(given, &cwd, &canonical);
        marks.set_if(given.is_empty() || is(parts.filename, Status::Failed), Marks::ERROR_FILENAME);
        marks.set_if(given.len() >= LONG_FILENAME, Marks::DATA_FILENAME);

        let args = vector(parts.args, long.map(|long| &long.0), exec.args_len);
        marks.set_if(args.cut, Marks::TRUNC_ARGS);
        marks.set_if(is(parts.args, Status::Failed), Marks::ERROR_ARGS);
        marks.set_if(is(parts.args, Status::Chunked), Marks::DATA_ARGS);
        let envs = vector(parts.envs, long.map(|long| &long.1), exec.envs_len);
        marks.set_if(is(parts.envs, Status::Failed), Marks::ERROR_ENVS);

        let interpreter = match string(parts.interp) {
            interp if interp == given => &[][..],
            interp => interp,
        };
        let mut process = self.common(exec, parts, marks, relations);
        self.put_arguments(&mut process, args, if interpreter.is_empty() { given } else { interpreter });
        self.put_environment(&mut process, envs);
        if !interpreter.is_empty() {
            process.extra.interpreter = self.lossy(interpreter);
            process.extra.script = Box::from(&*binary);
        }
        let leader = exec.id.tid == exec.rec.process.pid;
        process.extra.exec_tid = if leader { 0 } else { exec.id.tid };
        if self.config.visible.credentials {
            process.binary_properties = binary_properties(exec, &canonical);
        }
        process.cwd = cwd;
        process.binary = binary;
        process.extra.canonical_path = canonical;
        self.config.redaction.apply(&mut process);
        process
    }

    /// A process as a scan found it. Its program is known by the file it runs; a thread of the kernel goes by
    /// its name.
    pub fn found(
        &mut self,
        task: &Exec,
        parts: &Parts<'_>,
        args: &[u8],
        envs: &[u8],
        relations: Relations<'_>,
    ) -> Process {
        let mut marks = Marks::PROC_FS;
        let kernel_thread = ProcessFlags(task.id.flags).has(ProcessFlags::KERNEL_THREAD);
        let cwd = self.cwd(parts.cwd, relations.parent, &mut marks);
        let canonical = self.canonical(parts.exe, FileFlags(task.exe.flags));
        marks.set_if(!kernel_thread && canonical.is_empty(), Marks::ERROR_FILENAME);
        marks.set_if(ProcessFlags(task.id.flags).has(ProcessFlags::FORKED), Marks::CLONE);
        let mut process = self.common(task, parts, marks, relations);
        // The vector is read from the process itself, which may have put anything there.
        let name = canonical.as_bytes();
        self.put_arguments(&mut process, Vector { bytes: args, cut: false, whole: 0 }, name);
        self.put_environment(&mut process, Vector { bytes: envs, cut: false, whole: 0 });
        process.cwd = cwd;
        process.binary =
            if canonical.is_empty() { Arc::clone(&process.extra.command) } else { Arc::clone(&canonical) };
        process.extra.canonical_path = canonical;
        self.config.redaction.apply(&mut process);
        process
    }

    /// A process that was created and has executed nothing: it runs its creator's program.
    pub fn forked(&mut self, key: Key, forked: &Forked) -> Process {
        let id = &forked.identity;
        let mut marks = Marks::CLONE;
        marks.set_if(ProcessFlags(id.flags).has(ProcessFlags::PARENT_MISSED), Marks::MISS);
        let mut process = match &forked.creator {
            Some(creator) => self.copy_of(creator, id),
            None => Process::default(),
        };
        process.parent_exec_id = match &forked.creator {
            Some(creator) => Arc::clone(&creator.exec_id),
            None => self.exec_id(id.parent),
        };
        marks.set_if(forked.creator.is_none(), Marks::UNKNOWN);
        self.put_identity(&mut process, key, id, marks);
        self.put_user(&mut process, id);
        process
    }

    /// A process of which only a record about something else tells.
    pub fn unknown(&mut self, key: Key) -> Process {
        Process {
            exec_id: self.exec_id(key),
            pid: key.pid,
            flags: self.texts.text(Marks::UNKNOWN),
            start_time: self.wall(key.ktime),
            auid: u32::MAX,
            visible: self.config.visible,
            ..Process::default()
        }
    }

    /// A process whose exec or creation was not seen, as a later record of its own tells of it.
    pub fn unseen(&mut self, key: Key, id: &Identity) -> Process {
        let mut process = Process { parent_exec_id: self.exec_id(id.parent), ..Process::default() };
        self.put_identity(&mut process, key, id, Marks::UNKNOWN);
        process
    }

    /// What a process has from its creator.
    fn copy_of(&mut self, creator: &Process, id: &Identity) -> Process {
        let of = &creator.extra;
        let same_group = of.cgroup_id == id.cgroup_id;
        let extra = ProcessExtra {
            canonical_path: Arc::clone(&of.canonical_path),
            inode: of.inode,
            device: of.device,
            interpreter: of.interpreter.clone(),
            script: of.script.clone(),
            tty: if id.tty == 0 { Box::default() } else { of.tty.clone() },
            memfd: of.memfd,
            deleted: of.deleted,
            argv: of.argv.clone(),
            arguments_length: of.arguments_length,
            environment_length: of.environment_length,
            ..ProcessExtra::default()
        };
        let docker = if same_group { Some(&creator.docker) } else { self.containers.get(&id.cgroup_id) };
        let docker = docker.cloned().unwrap_or_default();
        let inherited = creator.pod.as_ref().filter(|_| same_group).map(Arc::clone);
        Process {
            pod: inherited.or_else(|| self.pod(&docker)),
            cwd: Arc::clone(&creator.cwd),
            binary: Arc::clone(&creator.binary),
            arguments: creator.arguments.clone(),
            docker,
            environment: creator.environment.clone(),
            extra: Box::new(extra),
            ..Process::default()
        }
    }

    /// What exec and task records have in common.
    fn common(
        &mut self,
        exec: &Exec,
        parts: &Parts<'_>,
        mut marks: Marks,
        relations: Relations<'_>,
    ) -> Process {
        let flags = ProcessFlags(exec.id.flags);
        marks.set_if(flags.has(ProcessFlags::PARENT_MISSED), Marks::MISS);
        let cgroup_failed = is(parts.cgroup, Status::Failed);
        marks.set_if(cgroup_failed, Marks::ERROR_CGROUP_NAME);
        marks.set_if(cgroup_failed && exec.id.cgroup_id == 0, Marks::ERROR_CGROUP_ID);
        let file = FileFlags(exec.exe.flags);
        let extra = ProcessExtra {
            inode: exec.exe.ino,
            device: device(exec.exe.dev),
            tty: terminal(&self.lossy(string(parts.tty))),
            memfd: file.has(FileFlags::MEMFD),
            deleted: file.has(FileFlags::UNLINKED),
            previous_exec_id: relations.previous.unwrap_or_default(),
            reparented_to: relations.real_parent.unwrap_or_default(),
            ..ProcessExtra::default()
        };
        let parent_exec_id = match relations.parent {
            Some(parent) => Arc::clone(&parent.exec_id),
            None if exec.id.parent.is_none() && exec.rec.process.pid > 2 => Arc::default(),
            None => self.exec_id(exec.id.parent),
        };
        let docker = self.docker(parts.cgroup, exec.id.cgroup_id);
        let pod = self.pod(&docker);
        let mut process =
            Process { parent_exec_id, docker, pod, extra: Box::new(extra), ..Process::default() };
        self.put_identity(&mut process, exec.rec.process, &exec.id, marks);
        self.put_user(&mut process, &exec.id);
        process
    }

    fn put_identity(&mut self, process: &mut Process, key: Key, id: &Identity, mut marks: Marks) {
        let flags = ProcessFlags(id.flags);
        let in_init_tree = flags.has(ProcessFlags::IN_INIT_TREE);
        marks.set_if(in_init_tree, Marks::IN_INIT_TREE);
        process.exec_id = self.exec_id(key);
        process.pid = key.pid;
        process.uid = id.creds.euid;
        process.auid = id.auid;
        process.flags = self.texts.text(marks);
        process.start_time = self.wall(key.ktime);
        process.in_init_tree = Some(in_init_tree);
        process.visible = self.config.visible;
        process.creds = self.config.visible.credentials.then(|| Box::new(credentials(&id.creds)));
        let host = &self.config.host_namespaces;
        process.namespaces = self.config.visible.namespaces.then(|| Box::new(namespaces(&id.ns, host)));
        let no_audit = flags.has(ProcessFlags::NO_AUDIT);
        if no_audit {
            process.auid = u32::MAX;
        }
        let extra = &mut process.extra;
        extra.session_id = id.sid;
        extra.process_group = id.pgid;
        extra.audit_session = if no_audit { u32::MAX } else { id.audit_session };
        extra.ns_pid = id.ns_pid;
        extra.cgroup_id = id.cgroup_id;
        extra.no_new_privs = flags.has(ProcessFlags::NO_NEW_PRIVS);
        let comm = id.comm.map(|byte| byte as u8);
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
        self.text.clear();
        push_lossy(&mut self.text, &comm[..end]);
        extra.command = self.strings.get(&self.text);
    }

    fn put_user(&mut self, process: &mut Process, id: &Identity) {
        let host = &self.config.host_namespaces;
        let on_host = process.docker.is_empty() && id.ns.mnt == host.mnt && id.ns.user == host.user;
        if let Some(users) = self.config.users.as_mut().filter(|_| on_host) {
            process.user = users.name(id.creds.euid);
        }
    }

    fn put_arguments(&mut self, process: &mut Process, vector: Vector<'_>, program: &[u8]) {
        let arguments = Arguments::new(vector.bytes, program, &mut self.text);
        process.arguments = arguments.joined;
        process.extra.argv = arguments.exact;
        process.extra.arguments_length = vector.whole;
    }

    fn put_environment(&mut self, process: &mut Process, vector: Vector<'_>) {
        if self.config.environment.enabled {
            process.environment = environment(vector.bytes, &self.config.environment);
            process.extra.environment_length = vector.whole;
        }
    }

    fn lossy(&mut self, bytes: &[u8]) -> Box<str> {
        self.text.clear();
        push_lossy(&mut self.text, bytes);
        Box::from(self.text.as_str())
    }

    /// The working directory. One outside the process's root is marked as getcwd(2) does.
    fn cwd(&mut self, value: Option<Value<'_>>, parent: Option<&Process>, marks: &mut Marks) -> Arc<str> {
        let Some(value) = value else {
            marks.set(Marks::NO_CWD);
            return Arc::default();
        };
        if value.status == Status::Failed {
            marks.set(Marks::ERROR_CWD);
            return Arc::default();
        }
        let complete = value.status == Status::Ok;
        marks.set_if(!complete, Marks::CUT_CWD);
        self.text.clear();
        if PathFlags(value.flags).has(PathFlags::UNREACHABLE) {
            self.text.push_str("(unreachable)");
        }
        push_path(&mut self.text, value.bytes, complete);
        marks.set_if(self.text == "/", Marks::ROOT_CWD);
        match parent {
            Some(parent) if *parent.cwd == *self.text => Arc::clone(&parent.cwd),
            _ => self.strings.get(&self.text),
        }
    }

    fn canonical(&mut self, value: Option<Value<'_>>, file: FileFlags) -> Arc<str> {
        let Some(value) = value.filter(|value| value.status != Status::Failed) else { return Arc::default() };
        self.text.clear();
        let unreachable = PathFlags(value.flags).has(PathFlags::UNREACHABLE);
        if unreachable && !file.has(FileFlags::MEMFD) {
            self.text.push_str("(unreachable)");
        }
        push_path(&mut self.text, value.bytes, value.status == Status::Ok);
        self.strings.get(&self.text)
    }

    /// The executed path: as given, behind the working directory when relative, and by the file itself when it
    /// could not be read.
    fn binary(&mut self, given: &[u8], cwd: &str, canonical: &Arc<str>) -> Arc<str> {
        if given.is_empty() {
            return Arc::clone(canonical);
        }
        self.text.clear();
        let mut path = given;
        if path[0] != b'/' {
            while let Some(rest) = path.strip_prefix(b"./") {
                path = rest;
            }
            self.text.push_str(cwd);
            if !cwd.ends_with('/') {
                self.text.push('/');
            }
        }
        push_lossy(&mut self.text, path);
        if **canonical == *self.text { Arc::clone(canonical) } else { self.strings.get(&self.text) }
    }

    fn pod(&mut self, docker: &str) -> Option<Arc<saker_api::tetragon::Pod>> {
        self.config.pods.as_mut().filter(|_| !docker.is_empty())?.pod(docker)
    }

    fn docker(&mut self, cgroup: Option<Value<'_>>, cgroup_id: u64) -> Box<str> {
        let name = str::from_utf8(string(cgroup)).unwrap_or_default();
        let Some(id) = container_id(name, is(cgroup, Status::Truncated)) else { return Box::default() };
        let id: Box<str> = Box::from(id);
        if cgroup_id != 0 && !self.containers.contains_key(&cgroup_id) {
            if self.containers.len() >= CONTAINERS {
                self.containers.clear();
            }
            self.containers.insert(cgroup_id, id.clone());
        }
        id
    }
}

/// A vector as it came, inside its record or ahead of it.
fn vector<'a>(value: Option<Value<'a>>, long: Option<&'a Joined>, whole: u32) -> Vector<'a> {
    let chunked = is(value, Status::Chunked);
    let bytes = match (value, long) {
        (_, Some(long)) if chunked => &long.bytes[..],
        (Some(value), _) => value.bytes,
        (None, _) => &[],
    };
    let failed = is(value, Status::Failed) || value.is_none();
    let short = (bytes.len() as u64) < u64::from(whole);
    let cut = !failed && (short || is(value, Status::Truncated));
    Vector { bytes, cut, whole: if cut { u64::from(whole) } else { 0 } }
}

/// Credentials as events show them.
pub(crate) fn credentials(creds: &Creds) -> Credentials {
    Credentials {
        uid: creds.uid,
        gid: creds.gid,
        euid: creds.euid,
        egid: creds.egid,
        suid: creds.suid,
        sgid: creds.sgid,
        fsuid: creds.fsuid,
        fsgid: creds.fsgid,
        securebits: creds.securebits,
        userns_level: creds.userns_level,
        userns_uid: creds.userns_uid,
        userns_gid: creds.userns_gid,
        cap_inheritable: creds.cap_inheritable,
        cap_permitted: creds.cap_permitted,
        cap_effective: creds.cap_effective,
        cap_bounding: creds.cap_bounding,
        cap_ambient: creds.cap_ambient,
    }
}

/// Namespaces as events show them.
pub(crate) fn namespaces(ns: &NamespaceInums, host: &NamespaceInums) -> Namespaces {
    let one = |inum, host| Namespace { inum, is_host: inum == host && inum != 0 };
    Namespaces {
        uts: one(ns.uts, host.uts),
        ipc: one(ns.ipc, host.ipc),
        mnt: one(ns.mnt, host.mnt),
        pid: one(ns.pid, host.pid),
        pid_for_children: one(ns.pid_for_children, host.pid_for_children),
        net: one(ns.net, host.net),
        time: one(ns.time, host.time),
        time_for_children: one(ns.time_for_children, host.time_for_children),
        cgroup: one(ns.cgroup, host.cgroup),
        user: one(ns.user, host.user),
    }
}

/// A terminal as its file below /dev is named: the kernel says `pts3` of `/dev/pts/3`.
fn terminal(name: &str) -> Box<str> {
    match name.strip_prefix("pts") {
        Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("pts/{number}").into()
        }
        _ => name.into(),
    }
}

#[cfg(test)]
mod terminal_tests {
    use super::terminal;

    #[test]
    fn pseudo_terminals_are_named_as_below_dev() {
        assert_eq!(&*terminal("pts12"), "pts/12");
        assert_eq!(&*terminal("tty1"), "tty1");
        assert_eq!(&*terminal("pts"), "pts");
        assert_eq!(&*terminal("pts/3"), "pts/3");
    }
}
