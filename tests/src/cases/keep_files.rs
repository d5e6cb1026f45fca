//! Files by what they are, while agents come and go: what was meant is refused all the time, and the next agent finds out what
//! has taken its place meanwhile.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::keep::{Line, ask, kill, policy};
use super::policy_same_file::{Place, refusing, without_lsm};
use crate::case::{Case, alone};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] = &[alone("keep-same-file", replaced).spread()];

/// What is read of files of a place by the test's program; E and a number: the error.
fn read(line: &Line, place: &Place, names: &[&str]) -> Result<Vec<String>> {
    let paths: Vec<String> = names.iter().map(|name| place.text(name)).collect();
    let all: Vec<&str> = std::iter::once("read-each").chain(paths.iter().map(String::as_str)).collect();
    let facts = line.programs.start(&line.scratch, &all)?.finish()?.facts;
    (0..names.len()).map(|index| Ok(facts.text(&index.to_string())?.to_owned())).collect()
}

fn all(text: &str, names: &[&str]) -> Vec<String> {
    vec![text.to_owned(); names.len()]
}

/// Files are replaced while no agent runs.
fn replaced() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let line = Line::new()?;
    let place = Place::make(&line.scratch)?;
    let mut agent = line.start()?;
    let values = [place.text("protected"), place.text("single"), place.text("later")];
    let text = refusing(&line.programs.workload, &[("file_open", "file")], &values);
    let file = line.write("same.yaml", &text)?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    let known = ["single", "protected/secret", "neighbour/linked-secret"];
    same("at first", read(&line, &place, &known)?, all("E1", &known))?;
    for way in ["killed", "stopped"] {
        if way == "killed" {
            kill(&mut agent)?;
        } else {
            agent.stop()?;
        }
        same("without an agent", read(&line, &place, &known)?, all("E1", &known)).context(way)?;
        // In the place of one that is known comes another, and one where there was none.
        let before = format!("before-{way}");
        fs::hard_link(place.at("single"), place.at(&before))?;
        for name in ["single", "later"] {
            fs::write(place.at("new"), format!("secret {way}\n"))?;
            fs::rename(place.at("new"), place.at(name))?;
        }
        fs::write(place.at("outside"), "secret\n")?;
        let (inside, linked) = (format!("protected/{way}"), format!("neighbour/linked-{way}"));
        fs::write(place.at(&inside), "secret inside\n")?;
        fs::hard_link(place.at(&inside), place.at(&linked))?;
        let (inside, linked) = (inside.as_str(), linked.as_str());
        // What was known counts, and the tree tells what lies in a folder. What became of paths the next agent finds out.
        let still = [before.as_str(), "neighbour/linked-secret", "protected/secret", inside];
        same("replaced without an agent", read(&line, &place, &still)?, all("E1", &still)).context(way)?;
        agent = line.start()?;
        let now = ["single", "later", "protected/secret", "neighbour/linked-secret", inside, linked];
        same("with the next agent", read(&line, &place, &now)?, all("E1", &now)).context(way)?;
        let others = ["neighbour/open", "outside", "protected-not/open"];
        let told = read(&line, &place, &others)?;
        ensure!(told.iter().all(|text| !text.starts_with('E')), "{way}: neighbours: {told:?}");
        let note = policy(&agent, "same")?["hooks"][0]["note"].as_str().unwrap_or_default().to_owned();
        ensure!(!note.contains("leads to nothing"), "{way}: {note}");
    }
    agent.stop()
}
