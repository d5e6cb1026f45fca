use super::*;

/// A description under construction.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() || name.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, kind: u32, members: u32, size_or_type: u32, extra: &[u32]) {
        let name = self.name(name);
        let words = [name, kind << 24 | members, size_or_type];
        words.iter().chain(extra).for_each(|word| self.types.extend_from_slice(&word.to_ne_bytes()));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [0x9f, 0xeb, 1, 0].to_vec();
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&u32::to_ne_bytes(word));
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// int; struct other; struct other *; struct task { int a; struct other *b; int c[2]; }; typedef btf_trace_x.
fn sample() -> Vec<u8> {
    let mut sample = Builder::default();
    sample.push("int", kind::INT, 0, 4, &[32]);
    sample.push("other", kind::STRUCT, 0, 8, &[]);
    sample.push("", kind::PTR, 0, 2, &[]);
    sample.push("", kind::ARRAY, 0, 0, &[1, 1, 2]);
    let names = [sample.name("a"), sample.name("b"), sample.name("c")];
    let members = [names[0], 1, 0, names[1], 3, 64, names[2], 4, 128];
    sample.push("task", kind::STRUCT, 3, 24, &members);
    sample.push("btf_trace_x", kind::TYPEDEF, 0, 3, &[]);
    sample.bytes()
}

#[test]
fn what_is_named_is_cut_out_with_what_it_is_made_of() {
    let types = KernelTypes::cut(&sample(), "nothing\ntask\n", &["btf_trace_x", "btf_trace_y"]).unwrap();
    assert_eq!((types.target("btf_trace_x"), types.target("btf_trace_y")), (Some(6), None));
    let cut = Description::of(&types.description).unwrap();
    let mut kinds = Vec::new();
    let mut offset = 0;
    while offset < cut.types.len() {
        let (this, next) = cut.at(offset).unwrap();
        kinds.push((this.kind(), String::from_utf8_lossy(cut.name(this.name).unwrap()).into_owned()));
        offset = next;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    // What a pointer points to is not needed.
    assert_eq!(kinds, [(kind::STRUCT, "task"), (kind::INT, "int"), (kind::PTR, ""), (kind::ARRAY, "")]);
    let (task, _) = cut.at(0).unwrap();
    let members: Vec<_> = (0..3).map(|member| word(task.extra, 12 * member + 4).unwrap()).collect();
    assert_eq!((members, task.size_or_type), (vec![2, 3, 4], 24));
}

#[test]
fn other_bytes_are_refused() {
    let good = sample();
    assert!(KernelTypes::cut(&[], "task", &[]).is_none());
    for length in 0..good.len() {
        // Without its last strings a description may still serve; it must only not be trusted.
        let _ = KernelTypes::cut(&good[..length], "task\nother", &["btf_trace_x"]);
    }
    let mut unknown = good.clone();
    unknown[24 + 7] = 0x1f;
    assert!(KernelTypes::cut(&unknown, "task", &[]).is_none());
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0xff;
        let _ = KernelTypes::cut(&changed, "task\nother", &["btf_trace_x"]);
    }
}

#[test]
fn the_running_kernel_has_what_the_sensors_need() {
    let Ok(kernel) = crate::described::read() else {
        eprintln!("NOT RUN: this kernel does not describe its types");
        return;
    };
    let types = KernelTypes::cut(&kernel, "task_struct\ncred", &["btf_trace_sched_process_exec"]).unwrap();
    assert!(types.target("btf_trace_sched_process_exec").is_some());
    assert!(types.description.len() < kernel.len() / 10);
}

#[test]
fn a_description_whose_names_are_in_order_is_cut_the_same() {
    use crate::kernel::description::Types;

    let (names, targets) = ("nothing\ntask\nother\n", ["btf_trace_x", "btf_trace_y"]);
    let kernel = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let real = ("task_struct\ncred\npid_type\n", ["btf_trace_sched_process_exit", "bpf_lsm_file_open"]);
    for (bytes, names, targets) in [(sample(), names, targets), (kernel, real.0, real.1)] {
        let Some(whole) = KernelTypes::cut(&bytes, names, &targets) else {
            println!("NOT RUN: this kernel does not describe its types");
            continue;
        };
        let other = Types::of(bytes).unwrap().cut(names, &targets).unwrap();
        assert_eq!(whole.description, other.description);
        assert_eq!(whole.targets, other.targets);
        assert!(!whole.targets.is_empty());
    }
}
