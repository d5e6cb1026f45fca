//! Described processes.

use std::collections::BTreeMap;

use crate::diagnostic::{At, Report};
use crate::matcher::{Ancestor, CapabilitySets, Container, NamespaceState, Process};
use crate::names;
use crate::shape::{Item, Record};
use crate::words::Namespace;
use crate::yaml::shorten;

/// A described process; without a description one of the host without privileges.
pub(super) fn process(record: Option<&Record>, report: &mut Report) -> Process {
    let Some(record) = record else { return Process { pid: 1000, ..Process::default() } };
    let sets = |names: [&str; 3], report: &mut Report| CapabilitySets {
        effective: set(record, names[0], report),
        inheritable: set(record, names[1], report),
        permitted: set(record, names[2], report),
    };
    let changes = record.list("namespaceChanges").iter().filter_map(Item::text);
    Process {
        pid: record.integer("pid").unwrap_or(1000),
        namespace_pid: record.integer("nspid"),
        binary: text(record, "binary"),
        earlier: texts(record, "earlier"),
        ancestors: record.records("ancestors").map(ancestor).collect(),
        namespaces: namespaces(record, report),
        namespace_changes: changes.filter_map(|word| Namespace::parse(&word.value)).collect(),
        capabilities: sets(["effective", "inheritable", "permitted"], report),
        capability_changes: sets(["effectiveChanges", "inheritableChanges", "permittedChanges"], report),
        container: record.record("container").map(container),
    }
}

fn text(record: &Record, field: &str) -> String {
    record.text(field).map(|text| text.value).unwrap_or_default()
}

fn ancestor(record: &Record) -> Ancestor {
    Ancestor {
        pid: record.integer("pid").unwrap_or(1),
        namespace_pid: record.integer("nspid"),
        binary: text(record, "binary"),
        earlier: texts(record, "earlier"),
    }
}

fn texts(record: &Record, field: &str) -> Vec<String> {
    record.list(field).iter().filter_map(Item::text).map(|text| text.value).collect()
}

fn container(record: &Record) -> Container {
    let labels = record.map("labels").iter();
    let labels = labels.filter_map(|(key, item)| Some((key.text.clone(), item.text()?.value)));
    let namespace = text(record, "namespace");
    Container {
        name: text(record, "name"),
        repo: text(record, "repo"),
        namespace: if namespace.is_empty() { "default".into() } else { namespace },
        labels: labels.collect(),
    }
}

fn set(record: &Record, field: &str, report: &mut Report) -> u64 {
    let mut set = 0;
    for item in record.list(field) {
        let Some(text) = item.text() else { continue };
        if report.is_full() {
            break;
        }
        match names::capability(&text.value) {
            Ok(number) => set |= 1 << number,
            Err(problem) => report.problem(&item.at, problem),
        }
    }
    set
}

fn namespaces(record: &Record, report: &mut Report) -> BTreeMap<Namespace, NamespaceState> {
    let mut namespaces = BTreeMap::new();
    for (key, item) in record.map("namespaces") {
        let at = At { span: key.span, path: item.at.path.clone() };
        let Some(namespace) = Namespace::parse(&key.text) else {
            report.error(&at, format!("`{}` is not a kind of namespace", shorten(&key.text)));
            continue;
        };
        let Some(text) = item.text() else { continue };
        let inode = crate::values::number(&text.value).ok().and_then(|number| u32::try_from(number).ok());
        match (text.value.as_str(), inode) {
            ("host" | "host_ns", _) => namespaces.insert(namespace, NamespaceState::Host),
            (_, Some(inode)) => namespaces.insert(namespace, NamespaceState::Inode(inode)),
            _ => {
                let message = format!("`{}` is not a namespace", shorten(&text.value));
                report.error_hint(&item.at, message, "write an inode number, or `host`");
                None
            }
        };
    }
    namespaces
}
