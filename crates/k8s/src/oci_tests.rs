use serde_json::json;

use super::*;

fn state(value: &Value) -> Result<State, OciError> {
    State::parse(value.to_string().as_bytes())
}

fn spec(value: &Value) -> Result<Spec, OciError> {
    Spec::parse(value.to_string().as_bytes(), &[])
}

#[test]
fn states_of_runtimes_are_read() {
    let told = json!({
        "ociVersion": "1.0.2-dev", "id": "abc", "status": "creating", "pid": 7, "bundle": "/run/b",
        "annotations": {"x": "y"},
    });
    let wanted = State { id: "abc".into(), bundle: "/run/b".into(), pid: Some(7) };
    assert_eq!(state(&told), Ok(wanted));
    assert_eq!(state(&json!({"id": "abc", "bundle": "/b", "pid": 0})).unwrap().pid, None);
    for (wrong, member) in [
        (json!({"bundle": "/b"}), "id"),
        (json!({"id": 7, "bundle": "/b"}), "id"),
        (json!({"id": "", "bundle": "/b"}), "id"),
        (json!({"id": "x".repeat(2000), "bundle": "/b"}), "id"),
        (json!({"id": "abc"}), "bundle"),
        (json!({"id": "abc", "bundle": "relative"}), "bundle"),
        (json!({"id": "abc", "bundle": "/b\0"}), "bundle"),
    ] {
        assert_eq!(state(&wrong), Err(OciError::Member { what: STATE, member }), "{wrong}");
    }
    for wrong in [&b""[..], b"[]", b"7", b"{", b"\xff"] {
        assert!(matches!(State::parse(wrong), Err(OciError::NoObject { .. })), "{wrong:?}");
    }
    let long = vec![b' '; STATE_MAX + 1];
    assert_eq!(State::parse(&long), Err(OciError::TooLong { what: STATE, max: STATE_MAX }));
}

#[test]
fn specifications_tell_group_root_and_pod() {
    let told = json!({
        "root": {"path": "rootfs", "readonly": true},
        "linux": {"cgroupsPath": "kubepods.slice:cri-containerd:abc"},
        "annotations": {
            "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-name": "web-1",
            "password": "not taken", "io.kubernetes.long": "x".repeat(5000), "io.kubernetes.number": 7,
        },
    });
    let read = spec(&told).unwrap();
    assert_eq!(read.cgroups_path.as_deref(), Some("kubepods.slice:cri-containerd:abc"));
    assert_eq!(read.root_in(Path::new("/b")), Path::new("/b/rootfs"));
    assert_eq!((read.namespace(&[]), read.pod()), (Some("shop"), Some("web-1")));
    assert_eq!(read.annotations.len(), 2, "{:?}", read.annotations);
    // Another runtime's annotation, by name.
    let key = ["org.example/namespace".to_owned()];
    let told = json!({"annotations": {"org.example/namespace": "own"}});
    let read = Spec::parse(told.to_string().as_bytes(), &key).unwrap();
    assert_eq!(read.namespace(&key), Some("own"));
    assert_eq!(spec(&told).unwrap().namespace(&key), None);
    assert_eq!(spec(&json!({})), Ok(Spec::default()));
    assert_eq!(
        spec(&json!({"linux": {"cgroupsPath": ""}, "root": 7, "annotations": []})),
        Ok(Spec::default())
    );
    let member = "linux.cgroupsPath";
    for path in [json!(7), json!("/a\0b"), json!("x".repeat(5000))] {
        let wrong = spec(&json!({"linux": {"cgroupsPath": path}}));
        assert_eq!(wrong, Err(OciError::Member { what: CONFIG, member }));
    }
}

#[test]
fn no_number_of_annotations_hides_whose_a_container_is() {
    let mut all = serde_json::Map::new();
    for number in 0..1000 {
        all.insert(format!("io.kubernetes.a{number}"), json!("x"));
    }
    all.insert("io.kubernetes.pod.namespace".into(), json!("shop"));
    all.insert("io.kubernetes.pod.name".into(), json!("web-1"));
    let read = spec(&json!({"annotations": all})).unwrap();
    assert_eq!(read.annotations.len(), ANNOTATIONS_MAX);
    assert_eq!((read.namespace(&[]), read.pod()), (Some("shop"), Some("web-1")));
}

#[test]
fn groups_are_those_of_the_unified_hierarchy() {
    assert_eq!(unified_group("12:pids:/x\n0::/a/b\n"), Some("/a/b"));
    for none in ["", "12:pids:/x\n", "0::/\n", "0::\n"] {
        assert_eq!(unified_group(none), None, "{none:?}");
    }
}
