//! Users, capabilities, login ids, sessions.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::facts::{capability_bits, check_leaf};
use crate::case::{Case, alone, shared};
use crate::event::Event;
use crate::observe::{Lab, same};

const CAP_NET_RAW: u64 = 1 << 13;

/// The table.
pub const CASES: &[Case] = &[
    shared("set-user-id", set_user_id),
    shared("set-user-id-root", set_user_id_root),
    shared("set-user-id-from-root", set_user_id_from_root),
    shared("set-user-id-without-new-privileges", no_new_privileges),
    shared("set-group-id", set_group_id),
    shared("user-namespace-root", user_namespace_root),
    shared("file-capabilities", file_capabilities),
    shared("credentials-at-exit", drop_privileges),
    shared("login-uid", login_uid),
    shared("terminal-and-session", terminal),
    alone("optional-fields-are-opt-in", opt_in),
];

fn gained(event: &Event) -> &Value {
    event.at("process/binary_properties/privileges_changed")
}

fn set_user_id(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["set-uid"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("setuid", exec.at("process/binary_properties/setuid"), &Value::from(4711))?;
    same("uid", exec.number("process/uid"), 4711)?;
    same("real uid", exec.number("process/process_credentials/uid"), 65534)
}

fn set_user_id_root(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["set-uid-root"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("setuid", exec.at("process/binary_properties/setuid"), &Value::from(0))?;
    same("why", gained(exec), &json!(["PRIVILEGES_RAISED_EXEC_FILE_SETUID"]))
}

/// The id changes and nothing is gained: no reason for an alert.
fn set_user_id_from_root(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["set-uid-from-root"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("setuid", exec.at("process/binary_properties/setuid"), &Value::from(4711))?;
    same("real uid", exec.number("process/process_credentials/uid"), 0)?;
    same("why", gained(exec), &Value::Null)
}

fn no_new_privileges(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["set-uid", "no-new-privileges"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("no_new_privs", exec.truth("process/no_new_privs"), true)?;
    same("setuid", exec.at("process/binary_properties/setuid"), &Value::Null)?;
    same("uid", exec.number("process/uid"), 65534)?;
    same("why", gained(exec), &Value::Null)
}

fn set_group_id(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["set-gid"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("setgid", exec.at("process/binary_properties/setgid"), &Value::from(4712))?;
    same("setuid", exec.at("process/binary_properties/setuid"), &Value::Null)
}

/// An id without any rights makes a namespace in which it is root: what it holds there came with no file.
fn user_namespace_root(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["user-namespace-root"])?;
    if let Some(errno) = seen.run.facts.find("unshare.errno") {
        println!("        this system lets nobody make a user namespace (errno {errno})");
        return Ok(());
    }
    let exec = seen.exec("child.pid")?;
    same("level", exec.at("process/user_ns/level"), &Value::from(1))?;
    same("uid", exec.number("process/uid"), 65534)?;
    ensure!(capability_bits(exec.at("process/cap/permitted"))? != 0, "it is root of its namespace");
    same("why", gained(exec), &Value::Null)
}

fn file_capabilities(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["file-capabilities"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    same("effective", capability_bits(exec.at("process/cap/effective"))?, CAP_NET_RAW)?;
    same("why", gained(exec), &json!(["PRIVILEGES_RAISED_EXEC_FILE_CAP"]))
}

fn drop_privileges(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["drop-privileges"])?;
    let exit = seen.check_end("child")?;
    same("uid as of the exec", exit.number("process/uid"), 0)?;
    for name in ["uid", "euid", "suid", "fsuid", "gid", "egid"] {
        let told = exit.at(&format!("credentials_at_exit/{name}"));
        same(&format!("{name} as of the exit"), told, &Value::from(65534))?;
    }
    Ok(())
}

fn login_uid(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["login-uid"])?;
    let exec = seen.exec("child.pid")?;
    check_leaf(exec, &seen.run.facts)?;
    let told = exec.number("process/auid");
    match seen.run.facts.find("loginuid.errno") {
        None => {
            same("auid", told, 4242)?;
            let session = seen.run.facts.number("leaf.sessionid")?;
            same("audit_session", exec.number("process/audit_session"), session)
        }
        Some(errno) => {
            println!(
                "        this kernel lets nobody set a login uid (errno {errno}): it must be told as unset"
            );
            same("auid", told, u64::from(u32::MAX))
        }
    }
}

fn terminal(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["terminal"])?;
    let facts = &seen.run.facts;
    let tty = facts.text("tty")?.trim_start_matches("/dev/");
    let (leader, member) = (seen.exec("leader.pid")?, seen.exec("member.pid")?);
    for exec in [leader, member] {
        same("tty", exec.text("process/tty"), tty)?;
        same("session_id", exec.number("process/session_id"), facts.number("leader.pid")?)?;
    }
    same("group of the leader", leader.number("process/process_group"), facts.number("leader.pid")?)?;
    same("group of the member", member.number("process/process_group"), facts.number("member.pid")?)?;
    same("tty before", seen.root()?.text("process/tty"), "")
}

/// Without flags events have none of the optional fields, as with the peer; our own can be switched off.
fn opt_in() -> Result<()> {
    let mut lab = Lab::start(&["--enable-extra-fields=false"])?;
    let seen = lab.observe(&["environment"])?;
    let exec = seen.exec("child.pid")?;
    let allowed = [
        "exec_id",
        "pid",
        "uid",
        "cwd",
        "binary",
        "arguments",
        "flags",
        "start_time",
        "auid",
        "parent_exec_id",
        "refcnt",
        "tid",
        "docker",
        "in_init_tree",
    ];
    for key in exec.at("process").as_object().into_iter().flatten().map(|(key, _)| key) {
        ensure!(allowed.contains(&key.as_str()), "the field {key} was not asked for");
    }
    same("ancestors", exec.at("ancestors"), &Value::Null)?;
    lab.agent.stop()
}
