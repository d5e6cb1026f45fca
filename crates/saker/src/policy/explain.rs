//! `saker policy explain`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use saker_policy::model::Policy;
use saker_policy::plan::cost::{Content, Cost, cost};
use saker_policy::plan::{HookPlan, Kernel, NamedFiles, lower};
use saker_policy::{Diagnostic, Explanation, Severity, explain, to_json};
use saker_probes::{KernelFacts, RunningKernel, SavedKernel};
use serde_json::{Value, json};

use super::{Form, load, name};
use crate::output;

const EXIT_STATUS: &str = "Exit status: 0 explained; 1 the policy has errors, or with --kernel: that kernel cannot serve \
                           it; 2 wrong command line";

/// Arguments of `saker policy explain`.
#[derive(Args)]
#[command(after_help = EXIT_STATUS)]
pub struct ExplainArgs {
    /// The policy file; `-` is standard input
    file: PathBuf,
    /// Say also how a kernel serves it, what it costs there and what cannot work: `this`, for which root is needed, or
    /// a file that `saker probe --save` wrote on another machine. Programs and libraries are those of this machine; files of
    /// `SameFile` are looked at with `this`
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// What a kernel makes of a policy.
enum Served {
    /// Its hooks, and what the user should know.
    Plan(Vec<HookPlan>, Vec<Diagnostic>),
    /// Everything that stands against it.
    Refused(Vec<Diagnostic>),
}

/// Explains the policies of a file.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let (_, checked) = load(&args.file, args.output == Form::Text)?;
    let kernel = args.kernel.as_ref().map(|kernel| asked(kernel)).transpose()?;
    let mut refused = Vec::new();
    let mut parts = Vec::new();
    let here = args.kernel.as_ref().is_some_and(|kernel| is_this(kernel));
    for policy in &checked.policies {
        let served = kernel.as_deref().map(|kernel| (kernel.release(), serve(policy, kernel, here)));
        if let Some((_, Served::Refused(_))) = served {
            refused.push(policy.name.value.clone());
        }
        parts.push((explain(policy), served));
    }
    if args.output == Form::Json {
        let file = name(&args.file);
        let policies: Vec<Value> = parts.iter().map(|(told, served)| as_json(&file, told, served)).collect();
        let warnings = to_json(&file, &checked.diagnostics);
        output::print(&format!("{:#}\n", json!({"policies": policies, "warnings": warnings})))?;
    } else {
        let texts: Vec<String> = parts.iter().map(|(told, served)| as_text(told, served)).collect();
        output::print(&texts.join("\n"))?;
    }
    if let (Some(kernel), false) = (&kernel, refused.is_empty()) {
        bail!("Linux {} cannot serve {}", kernel.release(), refused.join(", "));
    }
    Ok(())
}

/// Whether it is the running kernel that is asked for.
fn is_this(kernel: &std::path::Path) -> bool {
    kernel.as_os_str() == "this"
}

fn asked(kernel: &std::path::Path) -> Result<Box<dyn Kernel>> {
    if !is_this(kernel) {
        return Ok(Box::new(SavedKernel::open(kernel)?));
    }
    let missing = KernelFacts::discover()?.missing_capabilities.join(", ");
    if !missing.is_empty() {
        bail!("what this kernel offers cannot be tried without {missing}: run this as root");
    }
    Ok(Box::new(RunningKernel::load()?))
}

/// `here`: the kernel is that of this machine, whose files can be looked at.
fn serve(policy: &Policy, kernel: &dyn Kernel, here: bool) -> Served {
    match lower(policy, kernel) {
        Ok(plan) if plan.warnings.iter().all(|told| told.severity != Severity::Error) => {
            let mut warnings = plan.warnings;
            warnings.extend(if here { of_files(policy, &plan.sets.files) } else { Vec::new() });
            if warnings.iter().any(|told| told.severity == Severity::Error) {
                return Served::Refused(warnings);
            }
            Served::Plan(plan.hooks, warnings)
        }
        Ok(plan) => Served::Refused(plan.warnings),
        Err(told) => Served::Refused(told),
    }
}

/// What is to be said of the files that `SameFile` leads to: the agent finds them when the policy is loaded.
fn of_files(policy: &Policy, files: &[NamedFiles]) -> Vec<Diagnostic> {
    let told = |severity, message: String| Diagnostic {
        severity,
        span: policy.name.span,
        path: "spec".to_owned(),
        message: format!("`SameFile`: {message}"),
        hint: None,
    };
    match saker_probes::look_for_files(files) {
        Ok(notes) => notes.into_iter().map(|note| told(Severity::Warning, note)).collect(),
        Err(error) => vec![told(Severity::Error, error.to_string())],
    }
}

fn as_text(told: &Explanation, served: &Option<(&str, Served)>) -> String {
    let mut text = told.text();
    let Some((release, served)) = served else { return text };
    let problem = |text: &mut String, one: &Diagnostic| {
        let _ = writeln!(text, "  Line {}, {}: {}", one.span.line, one.path, one.message);
        if let Some(hint) = &one.hint {
            let _ = writeln!(text, "      {hint}");
        }
    };
    match served {
        Served::Refused(all) => {
            let _ = writeln!(text, "\nLinux {release} cannot serve it:");
            all.iter().for_each(|one| problem(&mut text, one));
        }
        Served::Plan(hooks, warnings) => {
            let _ = writeln!(text, "\nOn Linux {release}:");
            for hook in hooks {
                let (path, function, way) = (&hook.path, hook.target(), hook.attach.mechanism());
                let function = if function.is_empty() { String::new() } else { format!(" ({function})") };
                let _ = writeln!(text, "  {path}{function} by {way}.");
                if !hook.note.is_empty() {
                    let _ = writeln!(text, "      {}", hook.note);
                }
                if !hook.missing.is_empty() {
                    let _ = writeln!(text, "      Not in this kernel: {}.", hook.missing.join(", "));
                }
                let _ = writeln!(text, "      {}", in_words(cost(hook)));
            }
            warnings.iter().for_each(|one| problem(&mut text, one));
        }
    }
    text
}

/// What a hook costs.
fn in_words(cost: Option<Cost>) -> String {
    let Some(cost) = cost else {
        return "What a call costs was not measured for such hooks.".to_owned();
    };
    let mut parts = Vec::new();
    if let Some(other) = cost.other_process {
        parts.push(format!("{other} for a call of another process"));
    }
    if let Some(other) = cost.other_values {
        parts.push(format!("{other} for one whose values do not fit"));
    }
    parts.push(format!("{} for one that is told, and {} of the agent for its event", cost.told, cost.agent));
    if let Some(each) = cost.system_calls {
        parts.push(format!("{each} for every system call of the machine"));
    }
    if let Some(folders) = cost.folders {
        let (once, each) = (folders.once, folders.each);
        parts.push(format!(
            "where a value of `SameFile` is a folder, {once} more for a call, and {each} for each folder above its file"
        ));
    }
    match cost.content {
        None => {}
        Some(Content::Hash { small, each_kib }) => parts.push(format!(
            "{small} more for a call whose file is hashed, if it has up to 4 KiB, and {each_kib} for each KiB beyond, \
             as was measured of SHA-256"
        )),
        Some(Content::BuildId(each)) => {
            parts.push(format!("{each} more for a call of whose file the build id is read"));
        }
    }
    format!("Costs about, in instructions: {}.", parts.join("; "))
}

fn as_json(file: &str, told: &Explanation, served: &Option<(&str, Served)>) -> Value {
    let mut value = told.json();
    let Some((release, served)) = served else { return value };
    value["kernel"] = match served {
        Served::Refused(all) => json!({"release": release, "served": false, "errors": to_json(file, all)}),
        Served::Plan(hooks, warnings) => {
            let hooks: Vec<Value> = hooks.iter().map(hook_json).collect();
            json!({"release": release, "served": true, "hooks": hooks, "warnings": to_json(file, warnings)})
        }
    };
    value
}

fn hook_json(hook: &HookPlan) -> Value {
    let content = |content: Content| match content {
        Content::Hash { small, each_kib } => json!({"hash_up_to_4_kib": small, "hash_kib_beyond": each_kib}),
        Content::BuildId(each) => json!({"build_id": each}),
    };
    let cost = cost(hook).map(|cost| {
        json!({
            "other_process": cost.other_process, "other_values": cost.other_values, "told": cost.told,
            "agent": cost.agent, "system_calls": cost.system_calls,
            "folders": cost.folders.map(|folders| json!({"call": folders.once, "folder_above": folders.each})),
            "content": cost.content.map(content),
        })
    });
    json!({
        "path": hook.path, "function": hook.target(), "mechanism": hook.attach.mechanism(),
        "note": hook.note, "missing": hook.missing, "instructions": cost,
    })
}

#[cfg(test)]
mod tests {
    use saker_policy::plan::cost::Folders;

    use super::*;

    #[test]
    fn what_a_file_costs_is_said() {
        let plain = Cost {
            other_process: Some(330),
            other_values: None,
            told: 4_700,
            agent: 11_000,
            system_calls: None,
            folders: None,
            content: None,
        };
        let said = "330 for a call of another process; 4700 for one that is told, and 11000 of the agent for its event";
        assert_eq!(in_words(Some(plain)), format!("Costs about, in instructions: {said}."));
        let hash = Content::Hash { small: 231_000, each_kib: 56_500 };
        let hashed = Cost { folders: Some(Folders { once: 700, each: 510 }), content: Some(hash), ..plain };
        let words = in_words(Some(hashed));
        assert!(words.contains("is a folder, 700 more for a call, and 510 for each folder above"), "{words}");
        assert!(
            words.contains(
                "231000 more for a call whose file is hashed, if it has up to 4 KiB, and 56500 for each KiB"
            ),
            "{words}"
        );
        let named = Cost { content: Some(Content::BuildId(4_900)), ..plain };
        assert!(
            in_words(Some(named)).ends_with("; 4900 more for a call of whose file the build id is read.")
        );
    }
}
