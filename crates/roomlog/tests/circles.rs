//! No two modules of a crate import each other, directly or in a circle, so each can be read after
//! those that it uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

type Module = Vec<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/roomlog is two deep")
}

/// The modules below `src` by their paths, with their production code.
fn modules(src: &Path) -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![(src.to_owned(), Module::new())];
    while let Some((directory, path)) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory that can be read") {
            let file = entry.expect("an entry that can be read").path();
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let inside: Module = path.iter().cloned().chain([name.clone()]).collect();
            if file.is_dir() {
                // Unit tests may import what they like.
                if name != "tests" {
                    directories.push((file, inside));
                }
            } else if file.extension().is_some_and(|it| it == "rs") && name != "tests" {
                let is_directory = matches!(name.as_str(), "lib" | "main" | "mod");
                let module = if is_directory { path.clone() } else { inside };
                found.entry(module).or_insert_with(String::new).push_str(&code(&file));
            }
        }
    }
    found
}

/// The lines of a file that are neither comments nor unit tests.
fn code(file: &PathBuf) -> String {
    let text = fs::read_to_string(file).expect("a source file is text");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let tests = ["mod ", "pub(super) mod "].map(|it| format!("#[cfg(test)]\n{it}"));
    let end = tests.iter().filter_map(|tests| text.find(tests)).min().unwrap_or(text.len());
    // A visibility names a module that it reaches, and imports nothing.
    text[..end].replace("(in crate::", "(")
}

/// The paths that code names below `crate::`, `super::` and `self::`, each in full.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let is_inside =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || ":_$".contains(c));
            if !is_inside {
                flatten(&code[at..], &mut Module::new(), &mut found);
            }
        }
    }
    found
}

/// Reads one tree of a path; gives what comes behind it.
fn flatten<'a>(tree: &'a str, prefix: &mut Module, found: &mut Vec<Module>) -> &'a str {
    let tree = tree.trim_start();
    let depth = prefix.len();
    if let Some(mut inside) = tree.strip_prefix('{') {
        loop {
            inside = flatten(inside, prefix, found).trim_start();
            match inside.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => inside = more,
                Some(last) => return last.trim_start().trim_start_matches('}'),
                None => return inside.strip_prefix('}').unwrap_or(inside),
            }
        }
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    prefix.push(word.to_owned());
    let rest = match rest.strip_prefix("::") {
        Some(more) if !more.starts_with(['<', '*']) => flatten(more, prefix, found),
        _ => {
            found.push(prefix.clone());
            let rest = rest.trim_start();
            rest.strip_prefix("as ")
                .map_or(rest, |it| it.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        }
    };
    prefix.truncate(depth);
    rest
}

/// The module that a path of `from` leads to.
fn target(from: &Module, path: &Module, modules: &BTreeMap<Module, String>) -> Option<Module> {
    let mut place = from.clone();
    let mut rest = path.as_slice();
    while let [first, more @ ..] = rest {
        match first.as_str() {
            "crate" => place.clear(),
            "super" => _ = place.pop(),
            "self" => {}
            _ => break,
        }
        rest = more;
    }
    for name in rest {
        place.push(name.clone());
        if !modules.contains_key(&place) {
            place.pop();
            break;
        }
    }
    modules.contains_key(&place).then_some(place)
}

/// Every module with those that it imports.
fn edges(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let edge = |(from, code): (&Module, &String)| {
        let to = paths(code).into_iter().filter_map(|path| target(from, &path, modules));
        (from.clone(), to.filter(|to| to != from).collect())
    };
    modules.iter().map(edge).collect()
}

/// All that can be reached from a module.
fn reach(from: &Module, edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = open.pop() {
        for next in edges.get(&module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

/// The modules of each circle, as names.
fn circles(modules: &BTreeMap<Module, String>) -> BTreeSet<Vec<String>> {
    let edges = edges(modules);
    let reached: BTreeMap<_, _> = edges.keys().map(|it| (it, reach(it, &edges))).collect();
    let circle = |module: &&Module| {
        let with = reached[module].iter().filter(|other| reached[other].contains(*module));
        let names: Vec<_> = with.map(|it| format!("crate::{}", it.join("::"))).collect();
        (!names.is_empty()).then_some(names)
    };
    edges.keys().filter_map(|module| circle(&module)).collect()
}

#[test]
fn no_modules_of_a_crate_import_each_other_in_a_circle() {
    let crates = fs::read_dir(root().join("crates")).expect("crates/");
    let crates = crates.map(|it| it.expect("a crate").path());
    let mut wrong = Vec::new();
    for package in crates.chain([root().join("bench"), root().join("chaos")]) {
        let modules = modules(&package.join("src"));
        assert!(!modules.is_empty(), "{} has no source", package.display());
        for circle in circles(&modules) {
            wrong.push(format!("{}: {}", package.display(), circle.join(" ↔ ")));
        }
    }
    assert!(wrong.is_empty(), "circles of modules:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_circle_is_found_and_imports_are_read_in_every_form() {
    let module =
        |path: &str| path.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let of = |sources: &[(&str, &str)]| -> BTreeMap<Module, String> {
        sources.iter().map(|(path, code)| (module(path), (*code).to_owned())).collect()
    };
    let straight = [
        ("", "mod a; mod b; pub use a::A;"),
        ("a", "use crate::{b::{self, c::{C, D as E}}, b::B};"),
        ("b", "pub mod c; use self::c::C;"),
        ("b::c", "use std::fmt; struct C;"),
    ];
    let imports = edges(&of(&straight));
    assert_eq!(imports[&module("a")], BTreeSet::from([module("b"), module("b::c")]));
    assert_eq!(circles(&of(&straight)), BTreeSet::new());

    for back in
        ["use super::B;", "fn f() { super::f() }", "use crate::{b::{B}};", "use crate::a::A;"]
    {
        let mut around = of(&straight);
        around.insert(module("b::c"), back.to_owned());
        assert_eq!(circles(&around).len(), 1, "{back}");
    }
}
