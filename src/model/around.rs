//! What a table must know of the rest of the file: the edges and services by their names.

use super::Service;
use super::law::Folder;
use super::reader::Reader;
use super::tree::Node;
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems, all_of, nearest};
use std::time::Duration;

/// The rest of the file.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The edges by their place in the file; no protocol if the edge is broken.
    pub(crate) edges: Vec<(String, Option<Protocol>)>,
    /// The services by their place in the file; nothing but the name if the service is broken.
    pub(crate) services: Vec<(String, Option<Service>)>,
    /// How long the fault phase lasts; `None` if it is not known.
    pub(crate) phase: Option<Duration>,
    /// Where files with samples are; `None` if this did not come from a file, and then it may neither read files nor run
    /// commands.
    pub(crate) folder: Folder,
}

impl Surroundings {
    /// The edges that `edge` names, if nothing is wrong with them.
    pub(crate) fn find(&self, table: &Reader<'_>, problems: &mut Problems) -> Vec<(usize, Protocol)> {
        let names: Vec<&str> = self.edges.iter().map(|(edge, _)| edge.as_str()).collect();
        // That there are no edges at all is another mistake, and reported.
        let places = match names.is_empty() {
            true => Vec::new(),
            false => places("edge", table.many("edge"), &names, problems),
        };
        places.into_iter().filter_map(|(n, _)| Some((n, self.edges.get(n)?.1?))).collect()
    }

    /// The services that `service` names, if nothing is wrong with them, and where they are named.
    pub(crate) fn services(
        &self,
        table: &Reader<'_>,
        problems: &mut Problems,
    ) -> Vec<(usize, &Service, Place)> {
        let places = places("service", table.many("service"), &self.service_names(), problems);
        places
            .into_iter()
            .filter_map(|(n, place)| Some((n, self.services.get(n)?.1.as_ref()?, place)))
            .collect()
    }

    pub(crate) fn service_names(&self) -> Vec<&str> {
        self.services.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The places in the file of what these nodes name; names that are not there, or twice, are refused.
pub(crate) fn places(
    what: &str,
    nodes: &[Node],
    names: &[&str],
    problems: &mut Problems,
) -> Vec<(usize, Place)> {
    let mut found: Vec<(usize, Place)> = Vec::new();
    for node in nodes {
        let Some(name) = node.as_text() else { continue };
        match names.iter().position(|known| *known == name) {
            None => problems.push(unknown(what, name, names, node.place)),
            Some(index) if found.iter().any(|(other, _)| *other == index) => problems.push(
                Problem::error(format!("{what} `{name}` is there twice"))
                    .at(node.place)
                    .label("again")
                    .help("take one out"),
            ),
            Some(index) => found.push((index, node.place)),
        }
    }
    found
}

/// There is nothing of this name.
pub(crate) fn unknown(what: &str, name: &str, names: &[&str], place: Place) -> Problem {
    let article = if what.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    let problem = Problem::error(format!("there is no {what} `{name}`"))
        .at(place)
        .label(format!("not {article} {what}"));
    match nearest(name, names.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => {
            problem.help(format!("the file has no `[[{what}]]`: add one with `name = \"{name}\"`"))
        }
        None => problem.help(format!("there is {}", all_of(names.iter().copied()))),
    }
}
