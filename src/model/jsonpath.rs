//! Plain paths into JSON: `$.mode`, `$.items[0].price`.

use serde_json::Value;

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Into an object.
    Name(&'a str),
    /// Into an array.
    Place(usize),
}

/// The steps of a path; `None` if it is not a plain one.
pub(crate) fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            let odd = |c: char| {
                c.is_whitespace() || matches!(c, '*' | ']' | '\'' | '"' | '$' | '@' | '?' | '(' | ')')
            };
            if name.is_empty() || name.contains(odd) {
                return None;
            }
            all.push(Step::Name(name));
            rest = after;
        } else {
            let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = ['\'', '"']
                .into_iter()
                .find_map(|quote| inner.strip_prefix(quote)?.strip_suffix(quote))
                .filter(|name| !name.contains(['\'', '"', '\\']));
            all.push(match quoted {
                Some(name) => Step::Name(name),
                None if inner.bytes().all(|b| b.is_ascii_digit()) => Step::Place(inner.parse().ok()?),
                None => return None,
            });
            rest = after;
        }
    }
    Some(all)
}

/// What stands under a plain path such as `$.items[0].price`.
#[must_use]
pub fn json_at<'v>(path: &str, value: &'v Value) -> Option<&'v Value> {
    steps(path)?.into_iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.as_object()?.get(name),
        Step::Place(place) => value.as_array()?.get(place),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let value = json!({ "mode": "production", "items": [{ "price": 5 }, [7]], "a.b": null });
        for (path, found) in [
            ("$", Some(&value)),
            ("$.mode", Some(&json!("production"))),
            ("$.items[0].price", Some(&json!(5))),
            ("$.items[1][0]", Some(&json!(7))),
            ("$['a.b']", Some(&json!(null))),
            ("$[\"mode\"]", Some(&json!("production"))),
            ("$.items[2]", None),
            ("$.mode.more", None),
            ("$.items.price", None),
        ] {
            assert_eq!(json_at(path, &value), found, "{path}");
            assert!(steps(path).is_some(), "{path}");
        }
        for path in [
            "", "mode", ".mode", "$mode", "$.", "$..a", "$.a[", "$.a[]x", "$.a[*]", "$.*", "$.a[-1]", "$[a]",
            "$.a b", "$['a",
        ] {
            assert!(steps(path).is_none(), "{path}");
        }
    }
}
