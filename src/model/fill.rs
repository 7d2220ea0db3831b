//! `${edge.NAME}`: the address of an edge in a text, which is known only once the edge listens. Here are found what texts refer
//! to and what stands in their place; knows no key.

use super::around::Surroundings;
use super::tree::{Node, Tree, Value};
use crate::problem::{Problem, Problems, all_of, nearest};

const BEGIN: &str = "${edge.";

/// The names in a text, in their order.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// The text with something in place of each `${edge.NAME}`.
pub fn with(text: &str, mut address: impl FnMut(&str) -> String) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        filled.push_str(before);
        match after.split_once('}') {
            Some((name, after)) => {
                filled.push_str(&address(name));
                rest = after;
            }
            None => {
                filled.push_str(BEGIN);
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Refuses names of edges that are not there, wherever they stand.
pub(crate) fn check(tree: &Tree, around: &Surroundings, problems: &mut Problems) {
    tree.entries.iter().for_each(|entry| node(&entry.node, around, problems));
}

fn node(node_: &Node, around: &Surroundings, problems: &mut Problems) {
    if node_.broken {
        return;
    }
    match &node_.value {
        Value::Text(text) => {
            let mut said: Vec<&str> = Vec::new();
            for name in names(text) {
                if !around.edges.iter().any(|(edge, _)| edge == name) && !said.contains(&name) {
                    said.push(name);
                    let all = || around.edges.iter().map(|(edge, _)| edge.as_str());
                    problems.push(
                        Problem::error(format!("there is no edge `{name}`"))
                            .at(node_.place)
                            .label(format!("`{BEGIN}{name}}}` cannot be filled in"))
                            .help(match nearest(name, all()) {
                                Some(near) => format!("did you mean `{BEGIN}{near}}}`?"),
                                None => format!("there is {}", all_of(all())),
                            }),
                    );
                }
            }
        }
        Value::List(list) => list.iter().for_each(|inner| node(inner, around, problems)),
        Value::Table(tree) => check(tree, around, problems),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in() {
        for (text, filled, found) in [
            ("", "", &[][..]),
            ("plain", "plain", &[]),
            ("${edge.a}/x", "<a>/x", &["a"]),
            ("${edge.a}${edge.b c}", "<a><b c>", &["a", "b c"]),
            ("${edge.a", "${edge.a", &[]),
            ("x${edge.${edge.a}y", "x<${edge.a>y", &["${edge.a"]),
            ("${port.a}", "${port.a}", &[]),
        ] {
            assert_eq!(with(text, |name| format!("<{name}>")), filled, "{text}");
            if !text.starts_with('x') {
                assert_eq!(names(text).collect::<Vec<_>>(), found, "{text}");
            }
        }
    }
}
