//! JSON changed in place: what is not named stays byte for byte, the order of keys and the digits of numbers included.
//!
//! Bytes that are not valid JSON are never touched, and what comes out is valid. Pure; one pass for each change.

use crate::decision::{JsonEdit, JsonPath, JsonStep};

/// A change that was made: where, what was, and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub place: String,
    pub was: Vec<u8>,
    pub became: Vec<u8>,
}

/// Whether these bytes are JSON.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Makes the change wherever the path leads; `None` if it changes nothing. The bytes must be valid JSON.
pub(super) fn change(
    json: &[u8],
    path: &JsonPath,
    edit: &JsonEdit,
    most: usize,
) -> Option<(Vec<u8>, Vec<Made>)> {
    let mut work =
        Work { edit, most, made: Vec::new(), any: false, out: Vec::with_capacity(json.len() + 16) };
    let start = skip_space(json, 0);
    let end = end_of(json, start)?;
    work.out.extend_from_slice(json.get(..start)?);
    if !work.value(json.get(start..end)?, &path.steps, "$".to_owned())? {
        return None; // a document cannot be taken out of itself
    }
    work.out.extend_from_slice(json.get(end..)?);
    work.any.then_some((work.out, work.made))
}

struct Work<'e> {
    edit: &'e JsonEdit,
    /// How many changes are told.
    most: usize,
    made: Vec<Made>,
    any: bool,
    out: Vec<u8>,
}

impl Work<'_> {
    /// Writes a value; `false` if it is to be taken out, and nothing was written.
    fn value(&mut self, value: &[u8], steps: &[JsonStep], place: String) -> Option<bool> {
        let Some((step, rest)) = steps.split_first() else { return Some(self.edit(value, place)) };
        match (value.first(), step) {
            (Some(b'{'), JsonStep::Name(name)) => self.object(value, name, rest, &place)?,
            (Some(b'['), JsonStep::Place(_) | JsonStep::Every) => self.array(value, step, rest, &place)?,
            _ => self.out.extend_from_slice(value),
        }
        Some(true)
    }

    fn edit(&mut self, value: &[u8], place: String) -> bool {
        let became = changed(value, self.edit);
        match (&became, self.edit) {
            (None, JsonEdit::Remove) => {}
            (Some(new), _) if new != value => self.out.extend_from_slice(new),
            _ => {
                self.out.extend_from_slice(value);
                return true;
            }
        }
        self.any = true;
        if self.made.len() < self.most {
            let became = became.clone().unwrap_or_default();
            self.made.push(Made { place, was: value.to_vec(), became });
        }
        became.is_some()
    }

    fn object(&mut self, value: &[u8], name: &str, rest: &[JsonStep], place: &str) -> Option<()> {
        self.members(value, |work, member, at| {
            let key = member.get(..end_of(member, 0)?)?;
            let colon = skip_space(member, key.len());
            let begin = skip_space(member, colon + 1);
            if !is_name(key, name) {
                work.out.extend_from_slice(member);
                return Some(true);
            }
            let _ = at;
            let end = end_of(member, begin)?;
            work.out.extend_from_slice(member.get(..begin)?);
            let stays = work.value(member.get(begin..end)?, rest, format!("{place}.{name}"))?;
            work.out.extend_from_slice(member.get(end..)?);
            Some(stays)
        })
    }

    fn array(&mut self, value: &[u8], step: &JsonStep, rest: &[JsonStep], place: &str) -> Option<()> {
        self.members(value, |work, member, at| match step {
            JsonStep::Place(wanted) if *wanted != at => {
                work.out.extend_from_slice(member);
                Some(true)
            }
            _ => {
                let end = end_of(member, 0)?;
                let stays = work.value(member.get(..end)?, rest, format!("{place}[{at}]"))?;
                work.out.extend_from_slice(member.get(end..)?);
                Some(stays)
            }
        })
    }

    /// Writes a container member by member, with the space around them; `write` gets a member from its first byte to the
    /// comma or bracket behind it, and says whether it stays.
    fn members(
        &mut self,
        value: &[u8],
        mut write: impl FnMut(&mut Self, &[u8], usize) -> Option<bool>,
    ) -> Option<()> {
        self.out.push(*value.first()?);
        let (mut at, mut count, mut written) = (1, 0, 0);
        loop {
            let begin = skip_space(value, at);
            if matches!(value.get(begin)?, b'}' | b']') {
                self.out.extend_from_slice(value.get(at..)?);
                return Some(());
            }
            let mut end = skip_space(value, end_of(value, begin)?);
            if value.get(end) == Some(&b':') {
                end = skip_space(value, end_of(value, skip_space(value, end + 1))?);
            }
            let mark = self.out.len();
            if written > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(value.get(at..begin)?);
            if write(self, value.get(begin..end)?, count)? {
                written += 1;
            } else {
                self.out.truncate(mark);
            }
            count += 1;
            match value.get(end)? {
                b',' => at = end + 1,
                _ => {
                    self.out.push(*value.get(end)?);
                    return Some(());
                }
            }
        }
    }
}

/// What a value becomes; `None`: it is not there any more.
fn changed(value: &[u8], edit: &JsonEdit) -> Option<Vec<u8>> {
    Some(match edit {
        JsonEdit::Remove => return None,
        JsonEdit::Null => b"null".to_vec(),
        JsonEdit::Set(text) => text.as_bytes().to_vec(),
        JsonEdit::Empty => match value.first()? {
            b'"' => b"\"\"".to_vec(),
            b'{' => b"{}".to_vec(),
            b'[' => b"[]".to_vec(),
            b't' | b'f' => b"false".to_vec(),
            b'n' => b"null".to_vec(),
            _ => b"0".to_vec(),
        },
        JsonEdit::Scale(factor) => {
            let number: Option<f64> = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match number.filter(|_| matches!(value.first(), Some(b'-' | b'0'..=b'9'))) {
                Some(number) if number * factor == number => value.to_vec(),
                // to twelve digits: 19.99 times 0.1 is 1.999, whatever binary fractions make of it
                Some(number) if (number * factor).is_finite() => {
                    let scaled: f64 = format!("{:.11e}", number * factor).parse().unwrap_or(number * factor);
                    format!("{}", if scaled == 0.0 { 0.0 } else { scaled }).into_bytes()
                }
                _ => value.to_vec(),
            }
        }
    })
}

fn is_name(key: &[u8], name: &str) -> bool {
    match key.contains(&b'\\') {
        false => key.get(1..key.len().saturating_sub(1)) == Some(name.as_bytes()),
        true => serde_json::from_slice::<String>(key).is_ok_and(|key| key == name),
    }
}

fn skip_space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

/// Where the value that begins here ends. The JSON is valid, so only strings and brackets need a look.
fn end_of(json: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, start);
    loop {
        match json.get(at)? {
            b'"' => {
                at += 1;
                while *json.get(at)? != b'"' {
                    at += if *json.get(at)? == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                let word = json.get(at..)?.iter();
                let ends = |byte: &&u8| {
                    !matches!(
                        byte,
                        b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n'
                    )
                };
                at += word.take_while(ends).count();
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(steps: &[JsonStep]) -> JsonPath {
        JsonPath { text: String::new(), steps: steps.to_vec() }
    }

    fn name(name: &str) -> JsonStep {
        JsonStep::Name(name.to_owned())
    }

    fn after(json: &str, steps: &[JsonStep], edit: JsonEdit) -> Option<String> {
        change(json.as_bytes(), &path(steps), &edit, 9).map(|(out, _)| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_not_named_stays_byte_for_byte() {
        let json = " {\"b\" : 1.10,\n\"a\":[ 1e2 , {\"p\":19.99, \"q\": \"x,}\\\"\"} ,3 ] , \"price\":100 } ";
        let items = [name("a"), JsonStep::Every, name("p")];
        for (steps, edit, out) in [
            (&[name("price")][..], JsonEdit::Scale(0.1), Some(json.replace("100", "10"))),
            (&items, JsonEdit::Scale(0.1), Some(json.replace("19.99", "1.999"))),
            (&items, JsonEdit::Remove, Some(json.replace("\"p\":19.99, ", " "))),
            (&[name("a"), JsonStep::Place(0)], JsonEdit::Null, Some(json.replace("1e2", "null"))),
            (&[name("a"), JsonStep::Place(2)], JsonEdit::Remove, Some(json.replace(",3 ", ""))),
            (&[name("a"), JsonStep::Every], JsonEdit::Remove, None),
            (&[name("a")], JsonEdit::Empty, None),
            (&[name("b")], JsonEdit::Set("\"free\"".into()), Some(json.replace("1.10", "\"free\""))),
        ] {
            let got = after(json, steps, edit.clone()).unwrap();
            assert!(is_json(got.as_bytes()), "{got}");
            if let Some(out) = out {
                assert_eq!(got, out, "{edit:?}");
            }
        }
    }

    #[test]
    fn what_leads_nowhere_or_changes_nothing_is_no_change() {
        for (json, steps, edit) in [
            ("{\"a\":1}", &[name("b")][..], JsonEdit::Null),
            ("{\"a\":1}", &[name("a"), name("b")], JsonEdit::Null),
            ("{\"a\":null}", &[name("a")], JsonEdit::Null),
            ("{\"a\":1}", &[name("a")], JsonEdit::Scale(1.0)),
            ("{\"a\":\"1\"}", &[name("a")], JsonEdit::Scale(2.0)),
            ("{\"a\":1e308}", &[name("a")], JsonEdit::Scale(1e9)),
            ("[1]", &[JsonStep::Place(1)], JsonEdit::Null),
            ("7", &[], JsonEdit::Remove),
            ("{}", &[name("a")], JsonEdit::Remove),
        ] {
            assert_eq!(after(json, steps, edit.clone()), None, "{json} {edit:?}");
        }
        assert_eq!(after("7", &[], JsonEdit::Null), Some("null".into()));
        assert_eq!(after("{\"\\u0061\":7}", &[name("a")], JsonEdit::Empty), Some("{\"\\u0061\":0}".into()));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\{}\\[\\],: é]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[ab\"]", inner), 0..4)
                    .prop_map(|all| serde_json::Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The same as changing a tree, and valid whatever comes.
        #[test]
        fn it_is_the_same_as_changing_a_tree(json in any_json(), pretty: bool, index in 0usize..3, named: bool, kind in 0usize..3) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            let step = if named { name("a") } else { JsonStep::Place(index) };
            let edits: [JsonEdit; 3] = [JsonEdit::Null, JsonEdit::Remove, JsonEdit::Set("17".into())];
            let edit = edits[kind].clone();
            let mut tree = json.clone();
            let slot = if named { tree.get_mut("a") } else { tree.get_mut(index) };
            match (slot, &edit) {
                (None, _) => {}
                (Some(slot), JsonEdit::Null) => *slot = serde_json::Value::Null,
                (Some(slot), JsonEdit::Set(_)) => *slot = 17.into(),
                (Some(_), _) => match &mut tree {
                    serde_json::Value::Object(map) => { map.shift_remove("a"); }
                    serde_json::Value::Array(list) => { list.remove(index); }
                    _ => {}
                },
            }
            let got = after(&text, &[step], edit).unwrap_or(text);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&got).unwrap(), tree);
        }
    }
}
