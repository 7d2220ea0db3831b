//! Path patterns as `match.path` writes them: globs in which `/**` matches zero segments too, and `{id}` names a segment.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// One pattern, ready to match.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// What every match begins with: compared before anything dearer.
    prefix: String,
    kind: Kind,
    segments: Vec<(String, usize)>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The prefix is all of it.
    Exact,
    /// The prefix, and either nothing or a slash and anything.
    Below,
    /// A glob.
    Glob(GlobSet),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') && !text.starts_with('*') {
            return Err(format!("`{text}` matches no path: begin with `/`, such as `\"/v1/**\"`"));
        }
        let mut segments = Vec::new();
        let parts: Vec<String> = text
            .split('/')
            .enumerate()
            .map(|(place, part)| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains([',', '{', '}']) => {
                    segments.push((name.to_owned(), place));
                    "*".to_owned()
                }
                _ => part.to_owned(),
            })
            .collect();
        let glob = parts.join("/");
        let special = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
        let below = glob.strip_suffix("/**").filter(|stem| special >= stem.len());
        if let Some(stem) = below {
            return Ok(Self { prefix: stem.to_owned(), kind: Kind::Below, segments });
        }
        if special == glob.len() {
            return Ok(Self { prefix: glob, kind: Kind::Exact, segments });
        }
        // `/a/**/b` of globset matches zero segments already; at the end it does not
        let mut set = GlobSetBuilder::new();
        for glob in [Some(glob.as_str()), glob.strip_suffix("/**")].into_iter().flatten() {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            set.add(glob.map_err(|error| format!("`{text}` is not a path pattern: {}", error.kind()))?);
        }
        let matcher = set.build().map_err(|error| format!("`{text}` is not a path pattern: {error}"))?;
        let prefix = glob[..special].trim_end_matches('/').to_owned();
        Ok(Self { prefix, kind: Kind::Glob(matcher), segments })
    }

    /// What every path that matches begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether a path (without its query) matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.prefix.as_str()) else { return false };
        match &self.kind {
            Kind::Exact => rest.is_empty(),
            Kind::Below => rest.is_empty() || rest.starts_with('/'),
            Kind::Glob(glob) => glob.is_match(path),
        }
    }

    /// The part of a matching path that `{name}` stands for.
    #[must_use]
    pub fn segment<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let (_, place) = self.segments.iter().find(|(known, _)| known == name)?;
        path.split('/').nth(*place)
    }

    /// Whether the pattern names this segment.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.segments.iter().any(|(known, _)| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_promised() {
        for (pattern, path, matches) in [
            ("/v1/charges/**", "/v1/charges", true),
            ("/v1/charges/**", "/v1/charges/", true),
            ("/v1/charges/**", "/v1/charges/7/refund", true),
            ("/v1/charges/**", "/v1/chargesx", false),
            ("/v1/*", "/v1/a", true),
            ("/v1/*", "/v1/a/b", false),
            ("/v1/*/x", "/v1/a/x", true),
            ("/users/{id}/orders", "/users/7/orders", true),
            ("/users/{id}/orders", "/users/7/8/orders", false),
            ("/users/{id}/**", "/users/7", true),
            ("/users/{id}/**", "/users/7/a/b", true),
            ("/users/{id}/**", "/users", false),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/**", "/", true),
            ("/**", "/anything/at/all", true),
            ("/**/b", "/b", true),
            ("/**/b", "/a/c/b", true),
            ("/a/{x,y}", "/a/y", true),
            ("*", "*", true),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        assert!(PathPattern::parse("v1").is_err() && PathPattern::parse("/[").is_err());
    }

    #[test]
    fn segments_are_found_by_name() {
        let pattern = PathPattern::parse("/users/{id}/orders/{order}").unwrap();
        assert_eq!(pattern.segment("order", "/users/7/orders/9"), Some("9"));
        assert_eq!(pattern.segment("id", "/users/7/orders/9"), Some("7"));
        assert!(!pattern.names("nothing"));
    }
}
