//! The directory of a node whose journal is elsewhere.

use roomlog_sqlite::{Contents, Derived, OpenError};

const LOG: &str = "01M81WSNW9CE6W6228NGE1B62E";

#[test]
fn each_start_is_another_incarnation_of_the_same_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Derived::open(directory.path(), LOG).expect("a directory");
    assert_eq!(first.found, Contents::Empty);
    let (node, incarnation) = (first.identity.node, first.identity.incarnation);
    drop(first);
    let second = Derived::open(directory.path(), LOG).expect("the same");
    assert_eq!(second.found, Contents::Log);
    assert_eq!((second.identity.node, second.identity.incarnation), (node, incarnation + 1));
    let third = Derived::open(directory.path(), LOG).err();
    assert!(matches!(third, Some(OpenError::Locked(_))), "one process at a time: {third:?}");
}

#[test]
fn a_frozen_directory_is_refused_with_the_reason_until_the_mark_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Derived::open(directory.path(), LOG).expect("a directory");
    node.freeze("two others hold another log").expect("a mark");
    drop(node);
    for _ in 0..2 {
        let refused =
            Derived::open(directory.path(), LOG).err().expect("it is refused").to_string();
        assert!(refused.contains("two others hold another log"), "{refused}");
    }
    std::fs::remove_file(directory.path().join("frozen")).expect("removed");
    Derived::open(directory.path(), LOG).expect("it goes on");
}
