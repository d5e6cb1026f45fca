//! What programs of a control group refuse, they refuse also while agents come and go.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::egress::{ADDRESS, CONNECT, FORBIDDEN, Listeners, Place, filters, policy};
use super::keep::{self, Line, ask, kill, restarts};
use crate::case::{Case, alone};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] = &[alone("keep-egress", siege).spread()];

/// Agents come and go in the middle of a siege, by every way there is, and not one connection is made.
fn siege() -> Result<()> {
    let place = Place::find()?;
    let mut line = Line::new()?;
    line.flags.extend(place.group.as_ref().map(|group| format!("--socket-cgroup={}", group.display())));
    let mut agent = line.start()?;
    let closed = Listeners::at(SocketAddr::new(FORBIDDEN.parse()?, 0))?;
    let port = closed.tcp.local_addr()?.port();
    let text = policy(CONNECT, "", ADDRESS, &line.programs.workload, &filters("TCP, UDP", port), -1);
    let file = line.write("egress.yaml", &text)?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    let words = ["egress-siege", &place.name(), &port.to_string(), "2"];
    let mut siege = line.programs.start(&line.scratch, &words)?;
    siege.wait_for("besieging")?;
    let (began, restarts) = (Instant::now(), restarts());
    for round in 0..restarts {
        line.end(&mut agent, round)?;
        line.forget()?;
        agent = line.start()?;
        same("mode", keep::policy(&agent, "egress")?["mode"].as_str(), Some("TP_MODE_ENFORCE"))?;
    }
    let facts = siege.finish()?.facts;
    let (tried, took) = (facts.number("tried")?, began.elapsed());
    println!("        {tried} attempts in {restarts} restarts, {took:?} in all");
    same("connected", facts.number("connected")?, 0)?;
    same("refused otherwise", facts.number("other")?, 0)?;
    same("at who listens", closed.came()?, (0, 0))?;
    ensure!(tried > 1000, "the siege is too weak");
    ask(&agent, &["delete", "egress"])?;
    // With nobody there connections fail at once, and datagrams are connected all the same.
    drop(closed);
    let words = ["egress-siege", &place.name(), &port.to_string(), "1"];
    let mut after = line.programs.start(&line.scratch, &words)?;
    after.wait_for("besieging")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    let facts = after.finish()?.facts;
    ensure!(facts.number("connected")? > 0, "nothing connects without the policy");
    kill(&mut agent)?;
    Ok(())
}
