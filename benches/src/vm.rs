//! The session in an emulated machine that counts instructions, and what it tells as a table.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report::{Report, default_out, grouped, percent};
use crate::session;
use crate::subject;

/// The machine, and where the figures go.
#[derive(clap::Args)]
pub struct Machine {
    /// Kernel series to boot
    #[arg(long, default_value = "6.12")]
    pub kernel: String,
    /// Memory of the machine, MB
    #[arg(long, default_value_t = 4096)]
    mem: u32,
    /// CPUs the machine's kernel makes ready for; it has one
    #[arg(long, default_value_t = 1)]
    possible_cpus: u32,
    /// A processor without fast string operations, such as `rep movsb`: the machine counts each byte of one as an
    /// instruction, where a processor has one for all
    #[arg(long)]
    plain_strings: bool,
    /// Seconds before the machine is stopped
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// Further kernel arguments, such as `lsm=capability`, without which programs of LSM hooks go before fmod_ret
    /// (repeatable)
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Where the figures go as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Arguments of `vm`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    session: session::Args,
}

impl Machine {
    /// Runs this program in the machine, and returns the JSON lines that it prints.
    pub fn run(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut command = Command::new("cargo");
        command.args(["xtask", "vm", "--icount", "--kernel", &self.kernel]);
        command.args(["--mem", &self.mem.to_string(), "--timeout", &self.timeout.to_string()]);
        command.args(["--possible-cpus", &self.possible_cpus.to_string()]);
        if self.plain_strings {
            command.arg("--plain-strings");
        }
        for further in &self.append {
            command.args(["--append", further]);
        }
        command.arg("--env").arg(format!("SAKER_BIN={}", subject::saker_binary()?.display()));
        command.arg("--").arg(std::env::current_exe()?).args(arguments);
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo xtask vm")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "the session failed ({}):\n{text}", output.status);
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// Boots, measures, prints.
pub fn run(args: &Args) -> Result<()> {
    let lines = boot(args)?;
    let title = format!(
        "Instructions per operation, kernel {}, one emulated CPU (n = {} execs, {} compiler runs, {} in the burst)",
        args.machine.kernel, args.session.execs, args.session.compiles, args.session.burst
    );
    let mut report =
        Report::new(&title, &["workload CPU", "over none", "agent CPU", "wall median", "over none"]);
    for what in ["exec", "compile", "burst"] {
        let bare = lines.iter().find(|line| line["what"] == what && line["watcher"] == "none");
        for line in lines.iter().filter(|line| line["what"] == what) {
            let of = |line: &Value, name: &str| line["figures"][name].as_u64().unwrap_or(0);
            let (cpu, wall) = (of(line, "cpu_ns"), of(line, "median_ns"));
            let over = |figure: u64, name: &str| {
                bare.map_or(String::new(), |bare| {
                    let base = of(bare, name);
                    let more = i64::try_from(figure).unwrap_or(0) - i64::try_from(base).unwrap_or(0);
                    format!("{more:+} ({})", percent(figure, base))
                })
            };
            let cells = vec![
                grouped(cpu),
                over(cpu, "cpu_ns"),
                grouped(of(line, "agent_settled_ns")),
                grouped(wall),
                over(wall, "median_ns"),
            ];
            let told = match line["figures"]["told_execs"].as_u64() {
                Some(execs) => format!(", {execs} execs and {} exits told", of(line, "told_exits")),
                None => String::new(),
            };
            let round = line["round"].as_u64().unwrap_or(0) + 1;
            report.row(&format!("{what}, {} (round {round}){told}", text(line, "watcher")), cells);
        }
    }
    for line in
        lines.iter().filter(|line| text(line, "what").starts_with("memory") || line["what"] == "start")
    {
        println!("{} {}: {}", text(line, "watcher"), text(line, "what"), line["figures"]);
    }
    report.fact("lines", lines);
    report.publish(
        args.machine.out.clone().or_else(|| default_out(&format!("vm-{}", args.machine.kernel))).as_deref(),
    )
}

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or("")
}

fn boot(args: &Args) -> Result<Vec<Value>> {
    let session = &args.session;
    let numbers = [session.execs, session.compiles, session.burst].map(|number| number.to_string());
    let [execs, compiles, burst] = &numbers;
    let order = session.order.join(",");
    let mut arguments =
        vec!["session", "--execs", execs, "--compiles", compiles, "--burst", burst, "--order", &order];
    if !session.saker_flags.is_empty() {
        arguments.extend(["--saker-flags", &session.saker_flags]);
    }
    args.machine.run(&arguments)
}
